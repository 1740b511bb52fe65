"""The start order that the supervisor sends to a worker."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from mailserver.app.listeners import LastLogins
from mailserver.app.tls import KeptPairs
from mailserver.cluster.frames import SUPERVISOR, Frame, question
from mailserver.cluster.interfaces import IPeers
from mailserver.config.keys.log import LogSection
from mailserver.config.keys.top_level import Config
from mailserver.net.limits import Limits
from mailserver.store.locks import MailboxLocks

START = 0  # the number of the question with the start order
STOP, DRAINED, RELOAD, RELOADING, RELOADED, IN_FORCE = (
    "stop", "drained", "reload", "reloading", "reloaded", "in force",
)  # fmt: skip
"""The questions to and from the supervisor."""


@attrs.frozen
class InheritedSocket:
    """A listening socket that a worker inherits: its descriptor and its family."""

    descriptor: int
    family: int


@attrs.frozen(kw_only=True)
class StartOrder:
    """The start order of worker ``number`` of ``count``.

    ``config`` is the configuration in force, of the file ``path``. ``overrides`` and ``external`` are for the
    reloads of the first worker. ``sockets`` are those of the listeners, by their numbers from 0. ``limits``
    is the descriptor of the socket for shared limits, ``lock`` that of the locked file in the data directory,
    and ``control`` that of the control socket, for the first worker. ``checkers`` are the texts of
    ``--auth``. ``kept`` has the certificates that the supervisor has read before it dropped its privileges.
    ``log`` says where log lines go; text and JSON go to standard output.
    """

    number: int
    count: int
    path: Path
    config: Config = attrs.field(repr=False)
    overrides: Mapping[str, str] = attrs.field(repr=False)
    external: Mapping[str, str] = attrs.field(repr=False)
    sockets: Mapping[int, InheritedSocket]
    limits: int
    lock: int
    control: int | None
    checkers: tuple[str, ...] = attrs.field(repr=False)
    kept: KeptPairs = attrs.field(repr=False)
    log: LogSection

    @property
    def descriptors(self) -> list[int]:
        """All inherited descriptors, but that of the socket to the supervisor."""
        control = [] if self.control is None else [self.control]
        return [self.limits, self.lock, *control, *(each.descriptor for each in self.sockets.values())]

    def frame(self) -> Frame:
        """The order as a question of the supervisor; the worker answers when it is ready."""
        return question(SUPERVISOR, START, "start", self)


@attrs.frozen(kw_only=True)
class WorkerPlace:
    """The place of a process in a server with several workers, for the parts of that server.

    ``limits`` and ``logins`` ask the supervisor. ``kept``: see :class:`StartOrder`. ``control`` is the
    control socket, None in all workers but the first.
    """

    peers: IPeers
    limits: Limits
    logins: LastLogins
    locks: MailboxLocks
    sockets: Mapping[int, InheritedSocket]
    control: socket.socket | None
    kept: KeptPairs = attrs.field(repr=False)
    in_force: Callable[[Config], None]
    drained: Callable[[], Any]
