"""Installs the system call filters of a unit, as systemd does, and becomes another program.

    python seccomp.py UNIT PROGRAM ARGUMENT…

It uses libseccomp, as systemd does. NoNewPrivileges= must be set already. See systemd.exec(5) for the meaning
of the options. Not here: what the filters of RestrictSUIDSGID= and RestrictNamespaces= say of calls that
@system-service does not contain.
"""

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ALLOW, DENY = 0x7FFF0000, 0x00050000
NOT_EQUAL, EQUAL, MASKED_EQUAL = 1, 4, 7
NAMESPACES = (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)  # clone(2)
SUID, SGID = 0o4000, 0o2000


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``: a condition on one argument of a call."""

    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


class SystemCallFilter:
    """A filter of libseccomp. ``default`` is for all calls without a rule."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, call: str, *comparisons: Comparison) -> None:
        """A rule for a call whose arguments meet all the comparisons."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return  # systemd skips the calls that this machine does not have, too
        array = (Comparison * len(comparisons))(*comparisons)
        status = self._library.seccomp_rule_add_array(
            self._filter, ctypes.c_uint32(action), number, len(comparisons), array
        )
        assert status == 0, (call, os.strerror(-status))

    def load(self) -> None:
        """Put it in force for this process, until its end."""
        status = self._library.seccomp_load(self._filter)
        assert status == 0, os.strerror(-status)


def options(unit: Path) -> dict[str, list[str]]:
    """The settings of a unit; one that stands there several times has several values."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([A-Za-z]+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def calls(name: str) -> Iterable[str]:
    """The system calls of a group such as "@system-service", with those of the groups in it."""
    listed = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        word = line.strip()
        if word.startswith("@") and word != name:
            yield from calls(word)
        elif re.fullmatch(r"[a-z_][a-z0-9_]*", word):
            yield word


def allowed_calls(values: Iterable[str]) -> set[str]:
    """What the values of SystemCallFilter= allow together."""
    allowed: set[str] = set()
    for value in values:
        change = allowed.difference_update if value.startswith("~") else allowed.update
        for word in value.removeprefix("~").split():
            change(set(calls(word)) if word.startswith("@") else {word})
    return allowed


def confine(unit: dict[str, list[str]]) -> None:
    """Put all the filters in force."""
    allowed = allowed_calls(unit["SystemCallFilter"])
    deny = SystemCallFilter(ALLOW)
    refused = DENY | errno.EPERM
    if unit["RestrictNamespaces"] == ["yes"]:
        for call in ("unshare", "setns"):
            deny.add(refused, call)
        deny.add(DENY | errno.ENOSYS, "clone3")  # a filter cannot read its flags
        for flag in NAMESPACES:
            deny.add(refused, "clone", Comparison(0, MASKED_EQUAL, flag, flag))
    if unit["RestrictSUIDSGID"] == ["yes"]:
        for call, number in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2)):
            for bit in (SUID, SGID):
                deny.add(refused, call, Comparison(number, MASKED_EQUAL, bit, bit))
    if unit["LockPersonality"] == ["yes"]:
        deny.add(refused, "personality", Comparison(0, NOT_EQUAL, 0))
    deny.load()
    families = {int(getattr(socket, name)) for name in " ".join(unit["RestrictAddressFamilies"]).split()}
    # As systemd: families up to AF_MAX, each with a rule of its own.
    other = SystemCallFilter(ALLOW)
    for family in set(range(64)) - families:
        other.add(DENY | errno.EAFNOSUPPORT, "socket", Comparison(0, EQUAL, family))
    other.load()
    only = SystemCallFilter(refused)
    for call in allowed:
        only.add(ALLOW, call)
    only.load()


if __name__ == "__main__":
    confine(options(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])
