"""The composition root: a configuration in, one service out.

Here, and only here, the rooms are joined. Ports are bound while the process may still do so;
everything on the disk is touched later, as the user that the server goes on as.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.application.service import MultiService
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailserver import parts
from mailserver.auth.checker import AccountChecker
from mailserver.auth.portal import MailRealm
from mailserver.config.model import Config, Listen
from mailserver.durable.disk import Disk
from mailserver.durable.lock import DataLock
from mailserver.errors import CannotStart, ConfigurationError, DataInUse, StorageError
from mailserver.interfaces import IReactor
from mailserver.net.connection import ConnectionFactory
from mailserver.net.listener import Listener
from mailserver.net.pop3 import POP3Factory
from mailserver.net.smtp import SMTPFactory
from mailserver.queue.intake import Intake
from mailserver.routing.router import Router

HASHING_THREADS = 2

# What is in use from the start, so that a reload cannot change it.
NEEDS_RESTART = ("hostname", "data", "allow_root", "stop_grace", "listen", "tls", "storage")


def make_service(
    reactor: IReactor,
    path: Path,
    read: Callable[[], Config],
    ready_file: Path | None = None,
) -> "MailService":
    """Join the rooms as the configuration says, which ``read`` reads from ``path``.

    Raises :class:`ConfigurationError`. The data directory is made and locked, and ``ready_file``
    written, only when the service starts.
    """
    config = read()
    parts.check(path, config, reactor)
    service = MailService(reactor, path, config, read, ready_file)
    for number, listen in enumerate(config.listen, 1):
        service.listen(number, listen)
    return service


class MailService(MultiService):
    """The running server: its listeners are its children."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactor,
        path: Path,
        config: Config,
        read: Callable[[], Config],
        ready_file: Path | None,
    ) -> None:
        MultiService.__init__(self)
        self._reactor = reactor
        self._path = path
        self._config = config
        self._read = read
        self._ready_file = ready_file
        self._disk = Disk()
        self._lock = DataLock(config.data / "lock")
        self._settings = parts.settings(config, config.hostname)
        self._router = Router(parts.routing_table(config))
        self._store = parts.mailbox_store(config, self._disk, reactor)
        self._spill = config.data / "tmp"
        self._intake = Intake(self._store, self._spill, reactor)
        self._hashing = ThreadPool(0, HASHING_THREADS, "passwords")
        self._checker = AccountChecker(parts.passwords(config), config.domains[0], reactor, self._hashing)
        self._portal = Portal(MailRealm(self._store), [self._checker])
        self._hangup_handler: Any = None

    def listen(self, number: int, listen: Listen) -> None:
        """Add a listener, by its number from 1."""
        factories: dict[str, Callable[[], ConnectionFactory]] = {"smtp": self._smtp, "pop3": self._pop3}
        endpoint = serverFromString(self._reactor, listen.endpoint)
        if listen.tls != "none":
            self.log.warn(
                "listen[{number}]: TLS is not served by this version, the port has none", number=number
            )
        listener = Listener(
            listen.protocol,
            "none",
            f'listen[{number}].endpoint: cannot listen on "{listen.endpoint}"',
            endpoint,
            factories[listen.protocol](),
            self._config.stop_grace,
        )
        MultiService.addService(self, listener)

    def _smtp(self) -> ConnectionFactory:
        return SMTPFactory(
            lambda ip: self._settings.smtp,
            self._router,
            self._intake,
            self._reactor,
            lambda: self._settings.smtp_timeout,
            lambda: self._settings.smtp_transaction,
        )

    def _pop3(self) -> ConnectionFactory:
        return POP3Factory(
            lambda ip: self._settings.pop3(ip),
            self._portal,
            self._reactor,
            lambda: self._settings.pop3_timeout,
        )

    # ------------------------------------------------------------ start

    def privilegedStartService(self) -> None:
        """Bind the ports. Raises SystemExit if one cannot be had."""
        self._or_exit(lambda: MultiService.privilegedStartService(self))

    def startService(self) -> None:
        """Open the data directory and begin to serve. Raises SystemExit if that cannot be."""
        self._or_exit(self._open)
        self._or_exit(lambda: MultiService.startService(self))
        if threading.current_thread() is threading.main_thread():
            self._hangup_handler = signal.signal(signal.SIGHUP, self._hung_up)
        self._hashing.start()
        self._or_exit(self._ready)

    def _open(self) -> None:
        try:
            self._disk.make_dirs(self._config.data, self._spill)
            self._lock.acquire()
            self._store.open()
        except (DataInUse, StorageError, OSError) as error:
            raise CannotStart(f"data: {error}") from error

    def _or_exit(self, step: Callable[[], object]) -> None:
        """Take a step of the start; end the process with one line if it fails for an outer reason."""
        try:
            step()
        except CannotStart as error:
            line = f"{self._path}: {error}"
            self.log.error("cannot start: {line}", line=line)
            # twistd has made sys.stderr a part of its log by now.
            print(line, file=sys.__stderr__)
            raise SystemExit(1) from None

    def _ready(self) -> None:
        listeners = [child.where() for child in self if isinstance(child, Listener)]
        self.log.info("ready: {listeners}", listeners=listeners)
        if self._ready_file is not None:
            content = json.dumps({"pid": os.getpid(), "listeners": listeners})
            try:
                self._disk.replace(self._ready_file, content.encode() + b"\n")
            except OSError as error:
                raise CannotStart(f"--ready-file {self._ready_file}: {error.strerror}") from error

    # ------------------------------------------------------------ reload

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Read the configuration anew and put what can change into force; if it is wrong, keep the old."""
        try:
            config = self._read()
            parts.check(self._path, config, self._reactor)
        except ConfigurationError as error:
            self.log.error(
                "configuration refused, the old one stays in force: {problems}",
                problems="; ".join(error.lines),
            )
            return
        stuck = [name for name in NEEDS_RESTART if getattr(config, name) != getattr(self._config, name)]
        self._settings = parts.settings(config, self._config.hostname)
        self._router.table = parts.routing_table(config)
        self._checker.replace(parts.passwords(config), config.domains[0])
        if stuck:
            self.log.warn(
                "configuration reloaded, but a restart is needed for: {keys}", keys=", ".join(stuck)
            )
        else:
            self.log.info("configuration reloaded")

    # ------------------------------------------------------------ stop

    def stopService(self) -> Deferred[None]:
        """Stop listening, let the sessions go, then close the store."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await MultiService.stopService(self)
        self._checker.close()
        self._hashing.stop()
        await self._store.close()
        self._lock.release()
        if self._hangup_handler is not None:
            signal.signal(signal.SIGHUP, self._hangup_handler)
