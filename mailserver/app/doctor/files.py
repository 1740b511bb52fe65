"""Files: their owners and modes, secrets that others can read, symbolic links and leftovers."""

import shlex
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mailserver.app.data import own_files
from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.app.signing import read_key
from mailserver.control.channel import SOCKET
from mailserver.delivery.smtp.password import read_password
from mailserver.durable.owned import foreign
from mailserver.errors import StorageError
from mailserver.store.folders import STALE_AFTER

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_EVERYBODY = stat.S_IRWXO
_PASSED = "systemd passes the file to the server when it starts"


def check_files(it: Installation) -> Iterator[Examined]:
    """The data directory, and the files with secrets that the configuration names."""
    yield from _secrets(it)
    if it.in_memory:
        return
    try:
        status = it.data.stat()
    except FileNotFoundError:
        text = "it does not exist: the server was never started with this configuration"
        mend = "start the server; it creates the directory"
        yield DoctorFinding("data-missing", str(it.data), text, mend)
        return
    if not stat.S_ISDIR(status.st_mode):
        text = "it is not a directory, so that the server does not start"
        yield DoctorFinding("data-missing", str(it.data), text, "set data to the path of a directory")
        return
    if status.st_uid == 0 and not it.config.allow_root:
        text = "it belongs to root, and the server does not run as root (allow_root)"
        yield DoctorFinding("file-foreign", str(it.data), text, f"chown -R USER {shlex.quote(str(it.data))}")
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS and not mode & (stat.S_IWGRP | stat.S_IWOTH):  # foreign() reports these
        text = f"other users can look into it, its mode is {mode:04o}"
        yield DoctorFinding("data-exposed", str(it.data), text, f"chmod 700 {shlex.quote(str(it.data))}")
    for path in own_files(it.data):
        yield from _own_file(path, status.st_uid)
    yield from _leftovers(it)


def _own_file(path: Path, uid: int) -> Iterator[DoctorFinding]:
    if path.is_symlink():
        text = f"it is a symbolic link to {path.readlink()}: the server does not follow links to its files"
        yield DoctorFinding("file-link", str(path), text, "put the file itself there")
        return
    if (problem := foreign(path, uid)) is not None:
        kind = "file-foreign" if path.stat().st_uid != uid else "file-writable"
        yield DoctorFinding(kind, str(path), f"it {problem[0]}: the server does not start", problem[1])
    elif path.is_file() and (mode := stat.S_IMODE(path.stat().st_mode)) & _OTHERS:
        text = f"other users can read it, its mode is {mode:04o}"
        yield DoctorFinding("file-exposed", str(path), text, f"chmod 600 {shlex.quote(str(path))}")


def _secrets(it: Installation) -> Iterator[Examined]:
    """Not the keys of TLS: the check of the certificates reads them as the server does."""
    for number, section in enumerate(it.config.dkim, 1):
        if it.is_passed(section.key):
            yield NotChecked(f"dkim[{number}].key", _PASSED)
            continue
        try:
            read_key(section)
        except ValueError as error:
            mend = f"mailserver dkim make {section.domain}, or correct dkim[{number}].key"
            yield DoctorFinding("dkim-key-unusable", f"dkim[{number}].key", str(error), mend)
        else:
            yield from _exposed(section.key, "sign mail as your domain")
    if (path := it.config.auth.passwd_file) is not None and path.exists():
        yield from _exposed(path, "guess passwords by its hashes")
    if (path := it.config.relay.smarthost_password_file) is not None and it.is_passed(path):
        yield NotChecked("relay.smarthost_password_file", _PASSED)
    elif path is not None:
        try:
            read_password(path)
        except StorageError as error:
            key, _, text = str(error).partition(": ")
            mend = f"write the password into {path}, and: chmod 600 {shlex.quote(str(path))}"
            yield DoctorFinding("smarthost-password-unusable", key, text, mend)


def _exposed(path: Path, effect: str) -> Iterator[DoctorFinding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _EVERYBODY:
        text = f"everybody can read it, its mode is {mode:04o}: others may {effect}"
        yield DoctorFinding("key-exposed", str(path), text, f"chmod o-rwx {shlex.quote(str(path))}")


def _leftovers(it: Installation) -> Iterator[DoctorFinding]:
    old = []
    for path in [*it.data.glob("tmp/*"), *it.data.glob(".*")]:
        with suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime > STALE_AFTER:
                old.append(path)
    if old:
        text = f"{len(old)} temporary files of interrupted work are left, such as {old[0].name}"
        yield DoctorFinding("leftovers", str(old[0].parent), text, "restart the server, or remove them")
    socket = it.data / SOCKET
    if it.server is None and socket.is_socket():
        text = "the socket of a killed server is left; the next start removes it"
        yield DoctorFinding("leftovers", str(socket), text, "start the server")
