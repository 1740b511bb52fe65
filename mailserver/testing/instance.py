"""One server of a fixture, for the reactor's thread: the real sessions, queue and mailboxes, in memory.

It is built of the parts of ``app``, with other accounts and another router. Each connection has the joint of
``faults`` in front of its session.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from socket import socket
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailserver.app.listeners import Backends, LastLogins, Listeners
from mailserver.app.receptions import Receptions
from mailserver.app.schedule import CurrentSchedule
from mailserver.delivery.local import LocalDelivery
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.errors import CannotStart
from mailserver.faults.capabilities import Capabilities
from mailserver.faults.moments import POP3, SMTP
from mailserver.faults.restyle import Restyler
from mailserver.faults.rules import Rules
from mailserver.faults.script import Script
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import new_id
from mailserver.mail.queued import LOCAL, REMOTE
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.factory import ConnectionFactory
from mailserver.net.limits import Limits
from mailserver.policy.rates import SendingRates
from mailserver.queue.administration import QueueAdministration
from mailserver.queue.fetching import FetchingRunner, MailFetching
from mailserver.queue.incoming import IncomingMessage
from mailserver.queue.memory import MemorySpool
from mailserver.queue.reports import Reports
from mailserver.queue.spool import Spool
from mailserver.queue.writer import InlineSpoolWriter
from mailserver.testing.accounts import FixtureAccounts, sees_password
from mailserver.testing.clock import FixtureReactor
from mailserver.testing.connections import scripted
from mailserver.testing.inbox import Inbox
from mailserver.testing.outbox import OutboxDelivery
from mailserver.testing.profile import load_profile
from mailserver.testing.router import FixtureRouter
from mailserver.testing.settings import Settings
from mailserver.testing.store import ReportingStore
from mailserver.testing.tls import FixtureTLS


class FixtureSpool(Spool):
    """A spool that tells of the envelopes of new messages, and needs no thread."""

    writer_class = InlineSpoolWriter
    note: Callable[[Envelope], object]

    def receive(self, envelope: Envelope, trace: bytes) -> IncomingMessage:
        """See :class:`~mailserver.interfaces.ISpool`."""
        self.note(envelope)
        return super().receive(envelope, trace)


class Instance:
    """A server from its start to its stop. ``inbox`` has what tests look at."""

    def __init__(
        self,
        real: Any,
        settings: Settings,
        tls: FixtureTLS,
        inbox: Inbox,
        sockets: Mapping[int, socket] = {},
    ) -> None:
        """``real`` is the reactor of the thread. ``sockets`` are those of another server, by their ports,
        which this one takes."""
        self.settings = settings
        self.config = config = settings.config()
        self.clock = reactor = FixtureReactor(real, frozen=settings.seed is not None, sockets=sockets)
        self.inbox = inbox
        self.random = Random(settings.seed)
        # Any: it has the parts of a reactor that the packages use.
        anyhow: Any = reactor
        ids = Random(settings.seed)

        def next_id() -> str:
            return new_id(reactor.time, ids.getrandbits)

        self.store = ReportingStore(self._published, next_id, reactor.time)
        self.accounts = FixtureAccounts(self.store, settings.domain, on_demand=settings.accept != "accounts")
        router = FixtureRouter(self.accounts, settings.accept, settings.domain)
        schedule = CurrentSchedule(config)
        folder = Path(tempfile.gettempdir())
        self.spool = FixtureSpool(
            self.store,
            MemorySpool(),
            folder,
            DamagedFolder(folder, Disk()),
            anyhow,
            first_retry=schedule.first,
            now=reactor.time,
        )
        self.spool.note = inbox.note
        reactor.idle.append(lambda: self.spool.idle)
        self.relay = OutboxDelivery(inbox, next_id, reactor.time)
        reports = Reports(self.spool, router, config.hostname, anyhow, reactor.time, new_id=next_id)
        self.runner = FetchingRunner(
            self.spool,
            {LOCAL: LocalDelivery(self.spool), REMOTE: self.relay},
            reports,
            schedule,
            anyhow,
            concurrency=schedule.concurrency,
            now=reactor.time,
        )
        logins: LastLogins = ExpiringTable(1000, 86400.0, reactor.seconds)
        limits = Limits(config.limits, reactor.seconds)
        administration = QueueAdministration(self.spool, self.runner, reports, anyhow, reactor.time)
        receptions = Receptions(
            config,
            router,
            self.spool,
            lambda config, networks: (SendingRates(limits),),
            administration,
            MailFetching(self.spool, self.runner, lambda to: self.relay, anyhow),
            now=reactor.time,
            new_id=next_id,
        )
        self.rules = Rules(self.random)
        session_ids = Random(f"sessions {settings.seed}") if settings.seed is not None else Random()
        self.scripts = {
            name: Script(
                name,
                self.rules,
                Capabilities(),
                reactor.time,
                new_id=lambda: new_id(reactor.time, session_ids.getrandbits),
            )
            for name in (SMTP, POP3)
        }
        if settings.profile is not None:
            profile = load_profile(settings.profile)
            for name, script in self.scripts.items():
                script.restyle = Restyler(profile.style(name), config.hostname)
        # Any: services are not typed.
        self.listeners: Any = Listeners(
            config,
            tls,
            Backends(anyhow, limits, receptions, self.accounts, logins),
            Path.unlink,
            lambda factory: scripted(self._with_mechanisms(factory), self.scripts, inbox),
        )

    def _with_mechanisms(self, factory: ConnectionFactory) -> ConnectionFactory:
        """The factory. It offers mechanisms that never see a password only while the accounts have passwords,
        or if the test asks for them."""
        # Any: the factories of two protocols.
        made: Any = factory
        options = made.options

        def offered(client_ip: str) -> Any:
            found = options(client_ip)
            if "auth" in self.settings.sections or self.accounts.have_passwords:
                return found
            return attrs.evolve(found, mechanisms=tuple(filter(sees_password, found.mechanisms)))

        made.options = offered
        return factory

    def start(self) -> Mapping[str, tuple[str, int]]:
        """Bind the ports. Returns host and port of each listener by its name.

        Raises CannotStart; then those that are bound already are freed in the next turn of the reactor.
        """
        self.spool.open()
        self.runner.start()
        try:
            self.listeners.startService()
        except CannotStart:
            Deferred.fromCoroutine(self.stop())
            raise
        ports: Any = zip(self.settings.listeners, self.listeners.where(), strict=True)
        return {name: (where["host"], where["port"]) for name, where in ports}

    def listens(self, protocol: str) -> bool:
        """Whether the ports of "smtp" or "pop3" are bound."""
        return all(
            listener.port.connected
            for listener in self.listeners
            if (listener.protocol == POP3) == (protocol == POP3)
        )

    def sockets(self) -> dict[int, socket]:
        """Copies of the sockets that listen, by their ports. They go on to listen when this server stops."""
        copies: dict[int, socket] = {}
        for port in (listener.port for listener in self.listeners if listener.port.connected):
            port._shouldShutdown = False  # a shutdown would end the copy, too
            copy = copies[port.getHost().port] = port.socket.dup()
            copy.setblocking(False)
        return copies

    async def stop(self) -> None:
        """Reset the connections, free the ports, and end the thread of the spool."""
        await self.listeners.stopService()
        await self.runner.stop()
        await self.spool.close()
        self.clock.close()

    async def listen(self, protocol: str, listens: bool) -> None:
        """Begin or stop to listen on the ports of a protocol, "smtp" or "pop3"."""
        for listener in self.listeners:
            if (listener.protocol == POP3) == (protocol == POP3):
                # Any: a port of Twisted may listen again, which is in no interface.
                port: Any = listener.port
                if listens and not port.connected:
                    port.startListening()
                elif port.connected and not listens:
                    port.port = port.getHost().port
                    await port.stopListening()

    def deliver(self, octets: bytes, mailbox: Address) -> str:
        """Put a message into a mailbox. Returns its unique-id."""
        return self.store.put(mailbox, octets)

    def _published(self, mailbox: Address, uid: str, octets: bytes) -> None:
        self.inbox.arrived(mailbox, uid, octets, self.clock.time())
