"""The composition root: a configuration in, one service out.

Here, and only here, the rooms are joined. Ports are bound while the process may still do so;
everything on the disk is touched later, as the user that the server goes on as.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailserver import parts
from mailserver.admin.channel import SOCKET, Command, CommandFailed, Outcome, Request
from mailserver.admin.control import ControlService
from mailserver.admin.verification import Verification, verify
from mailserver.auth.checker import AccountChecker
from mailserver.auth.portal import MailRealm
from mailserver.config.model import Config, Listen
from mailserver.config.problems import one_line
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.database import read_only
from mailserver.durable.disk import Disk
from mailserver.durable.lock import DataLock
from mailserver.errors import CannotStart, ConfigurationError, DataInUse, StorageError
from mailserver.interfaces import IReactor, Quota
from mailserver.mail.address import Address
from mailserver.mail.finding import Check
from mailserver.net.connection import ConnectionFactory
from mailserver.net.listener import Listener
from mailserver.net.pop3 import POP3Factory
from mailserver.net.smtp import SMTPFactory
from mailserver.queue.full import QuotaRouter
from mailserver.queue.removal import SettledMaildrops
from mailserver.queue.runner import Runner
from mailserver.queue.show import Rows, message, queue
from mailserver.queue.verify import KINDS as QUEUE_KINDS
from mailserver.queue.verify import verify as verify_queue
from mailserver.routing.router import Router
from mailserver.store.verify import KINDS as MAILDIR_KINDS
from mailserver.store.verify import verify as verify_maildirs

HASHING_THREADS = 2

# What is in use from the start, so that a reload cannot change it.
NEEDS_RESTART = ("hostname", "data", "allow_root", "stop_grace", "listen", "tls", "storage")


def lock(data: Path) -> DataLock:
    """The lock that whoever opens the data holds, a server or a command."""
    return DataLock(data / "lock")


def checks(data: Path) -> tuple[Check, ...]:
    """All that ``mailserver verify`` looks at."""
    path = parts.queue_file(data)
    return (
        Check(MAILDIR_KINDS, partial(verify_maildirs, data / "mail")),
        Check(QUEUE_KINDS, partial(verify_queue, path, partial(read_only, path))),
    )


def _verify(data: Path, request: Request) -> Outcome:
    return verify(data, checks(data))


def _queue_list(rows: Rows, request: Request) -> Outcome:
    return Outcome(tuple(map(one_line, queue(rows))))


def _queue_show(rows: Rows, request: Request) -> Outcome:
    lines = tuple(map(one_line, message(rows, str(request.get("id")))))
    if not lines:
        raise CommandFailed(f"no message {request.get('id')} is in the queue")
    return Outcome(lines)


# What is asked of the spool, of a running server or in the file.
OF_QUEUE: Mapping[str, Callable[[Rows, Request], Outcome]] = {
    "queue list": _queue_list,
    "queue show": _queue_show,
}


def _queue_of(data: Path, request: Request) -> Outcome:
    return OF_QUEUE[str(request["command"])](partial(read_only, parts.queue_file(data)), request)


# Commands that can be done without a server, by whoever holds the lock.
WITHOUT_SERVER: Mapping[str, Callable[[Path, Request], Outcome]] = {
    "verify": _verify,
    **dict.fromkeys(OF_QUEUE, _queue_of),
}


def _lasting(config: Config, name: str) -> object:
    """What of a part of the configuration a reload cannot change."""
    value = getattr(config, name)
    return attrs.evolve(value, quota=0, quota_messages=0) if name == "storage" else value


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
        self._lock = lock(config.data)
        self._settings = parts.settings(config, config.hostname)
        self._router = Router(parts.routing_table(config))
        self._quotas = parts.quotas(config)
        self._schedule = parts.schedule(config)
        damaged = DamagedFolder(config.data / "damaged", self._disk)
        self._store = parts.mailbox_store(config, self._disk, damaged, self._quota_of, reactor)
        self._spool = parts.spool(
            config, self._store, self._disk, damaged, lambda: self._schedule.before(1), reactor
        )
        self._recipients = QuotaRouter(self._router, self._store, lambda: self._quotas)
        self._runner = Runner(self._spool, self._router, config.hostname, lambda: self._schedule, reactor)
        self._hashing = ThreadPool(0, HASHING_THREADS, "passwords")
        self._checker = AccountChecker(parts.passwords(config), config.domains[0], reactor, self._hashing)
        self._portal = Portal(
            MailRealm(SettledMaildrops(self._store, self._spool.checkpoint)), [self._checker]
        )
        self._hangup_handler: Any = None
        verification = Verification(reactor, config.data, checks(config.data))
        commands: dict[str, Command] = {
            "reload": lambda request: self.reload(),
            "verify": verification.run,
            **dict.fromkeys(OF_QUEUE, self._ask_queue),
        }
        for service in (
            verification,
            ControlService(reactor, config.data / SOCKET, commands, self._disk.remove),
        ):
            MultiService.addService(self, service)

    def _ask_queue(self, request: Request) -> Deferred[Outcome]:
        pool = self._reactor.getThreadPool()
        answer = OF_QUEUE[str(request["command"])]
        return deferToThreadPool(self._reactor, pool, answer, self._spool.rows, request)

    def _quota_of(self, mailbox: Address) -> Quota | None:
        return self._quotas.get(mailbox.key)

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
            self._recipients,
            self._spool,
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
            os.umask(0o077)
            data = self._config.data
            self._disk.make_dirs(data.parent)
            self._disk.make_dirs(data, data / "tmp", below=data.parent)
            self._lock.acquire()
            self._store.open()
            self._spool.open()
            self._runner.start()
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
        self._reactor.callFromThread(self._reload_unasked)

    def _reload_unasked(self) -> None:
        # The log has been told.
        with contextlib.suppress(CommandFailed):
            self.reload()

    def reload(self) -> Outcome:
        """Read the configuration anew and put what can change into force; if it is wrong, keep the old.

        Logs what came of it, and returns the same, or raises
        :class:`~mailserver.admin.channel.CommandFailed` with it.
        """
        try:
            config = self._read()
            parts.check(self._path, config, self._reactor)
        except ConfigurationError as error:
            text = f"configuration refused, the old one stays in force: {'; '.join(error.lines)}"
            self.log.error("{text}", text=text)
            raise CommandFailed(text) from error
        stuck = [name for name in NEEDS_RESTART if _lasting(config, name) != _lasting(self._config, name)]
        self._settings = parts.settings(config, self._config.hostname)
        self._router.table = parts.routing_table(config)
        self._quotas = parts.quotas(config)
        self._schedule = parts.schedule(config)
        self._checker.replace(parts.passwords(config), config.domains[0])
        text = "configuration reloaded"
        if stuck:
            text += f", but a restart is needed for: {', '.join(stuck)}"
            self.log.warn("{text}", text=text)
        else:
            self.log.info("{text}", text=text)
        return Outcome((text,))

    # ------------------------------------------------------------ stop

    def stopService(self) -> Deferred[None]:
        """Stop listening, let the sessions go, then close the store."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await MultiService.stopService(self)
        self._checker.close()
        self._hashing.stop()
        await self._runner.stop()
        await self._spool.close()
        await self._store.close()
        self._lock.release()
        if self._hangup_handler is not None:
            signal.signal(signal.SIGHUP, self._hangup_handler)
