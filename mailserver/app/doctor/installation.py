"""The subjects of ``mailserver doctor``: the configuration, the machine, and the running server."""

import ctypes
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailserver.app.doctor.findings import DoctorFinding
from mailserver.app.effective import EffectiveAccounts
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.kinds import CREDENTIALS
from mailserver.dns.interfaces import IResolver
from mailserver.dns.public import is_public
from mailserver.net.local_addresses import source_addresses

_UNSYNCHRONISED = 0x0040  # STA_UNSYNC of adjtimex(2)
_STATUS_AT = 40  # octets before the status in struct timex of 64-bit Linux
_SIZE = 512  # octets, more than the structure has


def _is_synchronised() -> bool | None:
    """Whether the kernel knows that the clock is right (adjtimex(2)); None if it does not say."""
    timex = ctypes.create_string_buffer(_SIZE)  # modes = 0: nothing is changed
    try:
        if ctypes.sizeof(ctypes.c_long) != 8 or ctypes.CDLL(None).adjtimex(timex) < 0:
            return None
    except AttributeError:
        return None
    status = ctypes.c_int.from_buffer(timex, _STATUS_AT).value
    return not status & _UNSYNCHRONISED


def _descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@attrs.frozen(kw_only=True)
class Machine:
    """What the checks ask the operating system. ``addresses`` returns the addresses of this machine for
    connections to the outside. ``descriptors`` returns the limit that a process may raise its own to, -1 for
    none. ``cores`` returns the number of processors that a process may use."""

    addresses: Callable[[], Sequence[str]] = source_addresses
    is_synchronised: Callable[[], bool | None] = _is_synchronised
    status: Callable[[Path], Any] = os.statvfs
    descriptors: Callable[[], int] = _descriptors
    cores: Callable[[], int] = lambda: len(os.sched_getaffinity(0))


@attrs.frozen(kw_only=True)
class RunningServer:
    """What the running server says of itself.

    ``loaded`` is the time when it has read its configuration, in seconds since the epoch. ``descriptors`` is
    its limit. ``listeners`` are as in the ready file. ``workers`` are as in
    :class:`~mailserver.app.status.WorkerStatus`.
    """

    version: str
    pid: int
    loaded: float
    descriptors: int
    listeners: Sequence[Mapping[str, Any]]
    workers: Sequence[Mapping[str, Any]] = ()


@attrs.frozen(kw_only=True)
class Installation:
    """An installation. ``now`` is in seconds since the epoch. ``run`` calls a function in a thread.
    ``fetch_policy`` fetches the policy of a domain (MTA-STS).

    ``server`` is None if no server runs, or if it does not answer as it should: then ``server_trouble`` is
    the finding. ``accounts`` is None if the account store is unreadable.
    """

    path: Path
    config: Config
    version: str
    now: float
    reactor: Any
    resolver: IResolver
    run: Callable[..., Deferred[Any]]
    fetch_policy: Callable[[str], Deferred[bytes]]
    offline: bool = False
    machine: Machine = Machine()
    server: RunningServer | None = None
    server_trouble: DoctorFinding | None = None
    accounts: EffectiveAccounts | None = None
    is_public: Callable[[str], bool] = is_public

    @property
    def data(self) -> Path:
        return self.config.data

    def is_passed(self, path: Path) -> bool:
        """Whether systemd passes the file to the server, and has not yet done so."""
        return CREDENTIALS in path.parents and not path.exists()

    @property
    def in_memory(self) -> bool:
        """Whether mail, queue and accounts are in the memory of the server only."""
        return self.config.storage.engine == "memory"

    @property
    def source_addresses(self) -> tuple[str, ...]:
        """The addresses that mail to other servers comes from."""
        return tuple(map(str, self.config.relay.source_address)) or tuple(self.machine.addresses())

    @property
    def public_addresses(self) -> tuple[str, ...]:
        """Those of them that are public."""
        return tuple(one for one in self.source_addresses if self.is_public(one))
