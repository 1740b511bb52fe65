"""The composition root: a configuration in, one service out.

Here, and only here, the rooms are joined. Ports are bound while the process may still do so;
everything on the disk is touched later, as the user that the server goes on as.
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import attrs
from twisted.application.service import MultiService
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger

from mailserver.app import accounts, build
from mailserver.app import data as data_directory
from mailserver.app.accounts import AccountService
from mailserver.app.listeners import Listeners
from mailserver.app.memory import Memory
from mailserver.app.process import HeldHangups, settle
from mailserver.app.startup import Startup
from mailserver.commands.accounts import OF_ACCOUNTS
from mailserver.commands.queue import OF_QUEUE
from mailserver.commands.verification import Verification
from mailserver.config.model import Config, Listen
from mailserver.control.channel import SOCKET, Command, CommandFailed, Outcome, Request
from mailserver.control.server import ControlService
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.durable.lock import DataLock
from mailserver.errors import CannotStart, ConfigurationError, DataInUse, StorageError, storage_error
from mailserver.interfaces import IReactor, Quota
from mailserver.mail.address import Address
from mailserver.net.accepting import use_all_descriptors
from mailserver.net.endpoints import server_endpoint
from mailserver.net.entrance import Entrance
from mailserver.net.factory import ConnectionFactory
from mailserver.net.listener import Listener
from mailserver.net.pop3 import POP3Factory
from mailserver.net.recent import Recent
from mailserver.net.smtp import SMTPFactory
from mailserver.queue.full import QuotaRouter
from mailserver.queue.removal import SyncedMaildrops
from mailserver.queue.runner import Runner

T = TypeVar("T")

# When maildrops were logged in to, for pop3.login_delay.
MOST_LOGINS = 100_000
LONGEST_DELAY = 86400.0

# What is in use from the start, so that a reload cannot change it.
NEEDS_RESTART = ("hostname", "data", "allow_root", "stop_grace", "listen", "tls", "storage", "log")


def _lasting(config: Config, name: str) -> object:
    """What of a part of the configuration a reload cannot change."""
    value = getattr(config, name)
    if name == "tls":
        return value is None  # the certificates are renewed with the rest
    return attrs.evolve(value, quota=0, quota_messages=0) if name == "storage" else value


def make_service(
    reactor: IReactor,
    path: Path,
    read: Callable[[], Config],
    ready_file: Path | None = None,
    checkers: Sequence[ICredentialsChecker] = (),
    observe: Callable[[str], ILogObserver | None] = lambda format: None,
    startup: Startup | None = None,
) -> "MailService":
    """Join the rooms as the configuration says, which ``read`` reads from ``path``.

    ``checkers`` are asked about passwords that are none of ours. ``observe`` gives the observer of the
    log for its format, None to leave that to Twisted. ``startup`` takes the outcome of the start.
    Raises :class:`ConfigurationError`. The data directory is made and locked, and ``ready_file``
    written, only when the service starts.
    """
    config = read()
    build.check(path, config, accounts.kept_names(config), reactor)
    accounts.check(path, config)
    service = MailService(reactor, path, config, read, ready_file, checkers, startup)
    for number, listen in enumerate(config.listen, 1):
        service.listen(number, listen)
    service.observer = observe(config.log.format)
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
        checkers: Sequence[ICredentialsChecker] = (),
        startup: Startup | None = None,
    ) -> None:
        MultiService.__init__(self)
        self._startup = startup or Startup()
        self._reactor = reactor
        self._path = path
        self._config = config
        self._read = read
        self._ready_file = ready_file
        self._disk = Disk()
        self._lock = DataLock(config.data / "lock")
        self._doors = Listeners(path, config, reactor)
        self._schedule = build.schedule(config)
        damaged = DamagedFolder(config.data / "damaged", self._disk)
        self._heavy = DeferredLock()
        self._store = build.mailbox_store(config, self._disk, damaged, self._quota_of, reactor, self._heavy)
        self._spool = build.spool(
            config, self._store, self._disk, damaged, lambda: self._schedule.before(1), reactor
        )
        maildrops = SyncedMaildrops(self._store, self._spool.checkpoint)
        self._people = AccountService(config, reactor, self._disk, maildrops, checkers, self._heavy)
        router = self._people.router
        self._recipients = QuotaRouter(router, self._store)
        self._runner = Runner(self._spool, router, config.hostname, lambda: self._schedule, reactor)
        self._logins: Recent[Address, float] = Recent(MOST_LOGINS, LONGEST_DELAY, reactor.seconds)
        self._hangup_handler: Any = None
        self.observer: ILogObserver | None = None
        checks = data_directory.checks(config.data)
        self._verification = Verification(reactor, config.data, checks, data_directory.at_start(config.data))
        commands: dict[str, Command] = {
            "reload": lambda request: self.reload(),
            "verify": self._verification.run,
            **dict.fromkeys(OF_QUEUE, self._ask_queue),
            **dict.fromkeys(OF_ACCOUNTS, self._people.run),
        }
        for service in (
            self._verification,
            self._people,
            self._doors,
            Memory(reactor),
            ControlService(reactor, config.data / SOCKET, commands, self._disk.remove),
        ):
            MultiService.addService(self, service)

    def setServiceParent(self, parent: Any) -> None:
        """Join the application, and tell it where its log goes."""
        MultiService.setServiceParent(self, parent)
        if self.observer is not None:
            parent.setComponent(ILogObserver, self.observer)

    def _ask_queue(self, request: Request) -> Deferred[Outcome]:
        pool = self._reactor.getThreadPool()
        answer = OF_QUEUE[str(request["command"])]
        return deferToThreadPool(self._reactor, pool, answer, self._spool.rows, request)

    def _quota_of(self, mailbox: Address) -> Quota | None:
        return self._people.quotas.get(mailbox.key)

    def listen(self, number: int, listen: Listen) -> None:
        """Add a listener, by its number from 1."""
        make = self._pop3 if listen.protocol == "pop3" else self._smtp
        endpoint = server_endpoint(self._reactor, listen.endpoint)
        listener = Listener(
            listen.protocol,
            listen.tls,
            f'listen[{number}].endpoint: cannot listen on "{listen.endpoint}"',
            endpoint,
            make(number, self._doors.entrance(number, listen)),
            self._config.stop_grace,
            self._disk.remove,
        )
        MultiService.addService(self, listener)

    def _smtp(self, number: int, entrance: Entrance) -> ConnectionFactory:
        terms, authenticator = self._doors.smtp_terms(number), self._people.authenticator
        return SMTPFactory(entrance, terms, self._recipients, self._spool, authenticator, self._reactor)

    def _pop3(self, number: int, entrance: Entrance) -> ConnectionFactory:
        terms, authenticator = self._doors.pop3_terms(number), self._people.authenticator
        return POP3Factory(entrance, terms, authenticator, self._reactor, self._logins)

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
        self._or_exit(self._ready)
        self._startup.succeeded()
        settle()
        if isinstance(self._hangup_handler, HeldHangups) and self._hangup_handler.came:
            # The configuration may have been read before.
            self._hung_up(signal.SIGHUP, None)

    def _open(self) -> None:
        try:
            os.umask(0o077)
            use_all_descriptors()
            data = self._config.data
            self._disk.make_dirs(data.parent)
            self._disk.make_dirs(data, below=data.parent)
            data_directory.require_own(data)
            self._disk.make_dirs(data / "tmp", below=data)
            self._lock.acquire()
            self._doors.make_certificate(self._disk)
            self._people.open()
            self._store.open()
            self._spool.open()
            self._runner.start()
        except (DataInUse, StorageError) as error:
            raise CannotStart(f"data: {error}") from error
        except OSError as error:
            raise CannotStart(f"data: {storage_error(error)}") from error

    def _or_exit(self, step: Callable[[], object]) -> None:
        """Take a step of the start; end the process with one line if it fails for an outer reason."""
        try:
            step()
        except CannotStart as error:
            line = f"{self._path}: {error}"
            self.log.error("cannot start: {line}", line=line)
            self._startup.failed(line)
            raise SystemExit(1) from None

    def _ready(self) -> None:
        self._warn(accounts.exposure(self._path, self._config))
        self._warn(data_directory.room_problem(self._config))
        listeners = [child.where() for child in self if isinstance(child, Listener)]
        self.log.info("ready: {listeners}", listeners=listeners)
        if self._ready_file is not None:
            content = json.dumps({"pid": os.getpid(), "listeners": listeners})
            try:
                self._disk.replace(self._ready_file, content.encode() + b"\n")
            except OSError as error:
                raise CannotStart(f"--ready-file {self._ready_file}: {error.strerror}") from error
        self._verification.warn()

    def _warn(self, problem: str | None) -> None:
        if problem is not None:
            self.log.warn("{problem}", problem=problem)

    # ------------------------------------------------------------ reload

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload_unasked)

    def _reload_unasked(self) -> None:
        # The log has been told.
        self.reload().addErrback(lambda failure: failure.trap(CommandFailed) and None)

    def reload(self) -> Deferred[Outcome]:
        """Read the configuration anew and put what can change into force; if it is wrong, keep the old.

        It is read in a thread, and put in force at once. Logs what came of it, and returns the same, or
        fails with :class:`~mailserver.control.channel.CommandFailed` with it.
        """
        return self._people.alone(self._reload)

    async def _reload(self) -> Outcome:
        try:
            config = await self._in_thread(self._read_again)
            replace_people = await self._people.prepare(self._path, config)
            # The last that can fail.
            self._doors.renew(config)
        except ConfigurationError as error:
            text = f"configuration refused, the old one stays in force: {'; '.join(error.lines)}"
            self.log.error("{outcome}", outcome=text)
            raise CommandFailed(text) from error
        stuck = [name for name in NEEDS_RESTART if _lasting(config, name) != _lasting(self._config, name)]
        self._doors.replace(config)
        self._schedule = build.schedule(config)
        replace_people()
        self._warn(await self._in_thread(accounts.exposure, self._path, config))
        text = "configuration reloaded"
        if stuck:
            text += f", but a restart is needed for: {', '.join(stuck)}"
            self.log.warn("{outcome}", outcome=text)
        else:
            self.log.info("{outcome}", outcome=text)
        return Outcome((text,))

    def _read_again(self) -> Config:
        config = self._read()
        build.check(self._path, config, self._people.names, self._reactor)
        return config

    def _in_thread(self, function: Callable[..., T], *arguments: object) -> Deferred[T]:
        return accounts.in_turn(self._heavy, self._reactor, function, *arguments)

    # ------------------------------------------------------------ stop

    def stopService(self) -> Deferred[None]:
        """Stop listening, let the sessions go, then close the store."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await MultiService.stopService(self)
        await self._people.close()
        await self._runner.stop()
        await self._spool.close()
        await self._store.close()
        self._lock.release()
        if self._hangup_handler is not None:
            signal.signal(signal.SIGHUP, self._hangup_handler)
