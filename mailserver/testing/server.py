"""A mail server for tests, as a context manager: ``with MailServer() as server: ...``.

All methods may be called in any thread but the one of the servers. They wait until their effect is there.
"""

import email.message
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs
from twisted.internet.defer import Deferred

from mailserver.faults.moments import POP3, SMTP
from mailserver.faults.rules import Rule, Rules, complaint
from mailserver.faults.script import Script
from mailserver.mail.address import Address
from mailserver.mail.mime import octets_of
from mailserver.testing.accounts import PASSWORD
from mailserver.testing.inbox import Inbox
from mailserver.testing.instance import Instance
from mailserver.testing.mailboxes import Mailboxes
from mailserver.testing.message import CaughtMessage
from mailserver.testing.outbox import FarReply
from mailserver.testing.rule_builder import RuleBuilder, begin_rule, calling_line
from mailserver.testing.searches import (
    Search,
    a_message,
    exactly,
    next_message,
    next_session,
    so_many_messages,
)
from mailserver.testing.sessions import Session
from mailserver.testing.settings import Settings
from mailserver.testing.thread import reactor_thread
from mailserver.testing.tls import FixtureTLS
from mailserver.testing.tls_faults import TLS_FAULTS

T = TypeVar("T")

TIMEOUT = 5.0  # seconds


@attrs.frozen
class Port:
    """The address of one listener."""

    host: str
    port: int


class ScriptedProtocol:
    """The rules and the capabilities of one protocol of a server."""

    def __init__(self, server: "MailServer", protocol: str, port: Port) -> None:
        self._server = server
        self._protocol = protocol
        self.host = port.host
        self.port = port.port

    def on(
        self, moment: str, argument: "str | re.Pattern[str] | None" = None, *, at: int | None = None
    ) -> RuleBuilder:
        """Begin a rule for a verb, or for a moment such as "connect" or "dot"; see :class:`RuleBuilder`.

        ``argument`` is searched in the argument of the command. ``at`` is an octet of the reply, or of the
        message for DATA and BDAT. A verb that the server does not know begins with X, or is the name of an
        invented capability. Raises ValueError for an unknown moment.
        """
        builder = begin_rule(
            self._server.instance.rules, self._protocol, moment, argument, at, self._script.own_names
        )
        builder.rule.place = calling_line()
        return builder

    def hide(self, *names: str) -> None:
        """Do not show these capabilities. Their commands work as before.

        Raises ValueError for a name that the server never shows.
        """
        self._script.hide(names)

    def invent(self, *lines: str) -> None:
        """Show these lines among the capabilities."""
        self._script.capabilities.invented.extend(lines)

    @property
    def _script(self) -> Script:
        return self._server.instance.scripts[self._protocol]

    def refuse(self) -> None:
        """Stop to listen on all ports of the protocol: the system refuses new connections. Open ones stay.

        The ports of SMTP are those of submission, too.
        """
        self._server.listen(self._protocol, False)

    def listen(self) -> None:
        """Listen again, on the same ports."""
        self._server.listen(self._protocol, True)


class RelayReplies:
    """What other servers answer when mail is relayed. Without a reply they accept it."""

    def __init__(self, server: "MailServer") -> None:
        self._server = server

    def reply(
        self, code: int, enhanced: str = "", text: str = "", *, to: str = "", times: int | None = None
    ) -> None:
        """Answer mail for addresses that contain ``to``, so many ``times``. 4xx defers, 5xx bounces."""
        if not 400 <= code <= 599:
            raise ValueError(f"code: {code}; allowed: 400 to 599")
        self._server.instance.relay.replies.append(
            FarReply(to, code, enhanced or f"{code // 100}.0.0", text, times)
        )


class Clock:
    """The time of a server."""

    def __init__(self, server: "MailServer") -> None:
        self._server = server

    def advance(self, duration: str | float) -> None:
        """Move the time on, by seconds or a text such as "4h". All that is due happens in order."""
        self._server.thread.run(self._server.instance.clock.advance(duration))

    def time(self) -> float:
        """The wall clock of the server, in seconds since the epoch."""
        return self._server.instance.clock.time()


class MailServer:
    """A server with its mailboxes in memory. It starts with :meth:`start`, or as a context manager.

    ``relay`` has the answers of other servers, ``clock`` the time.
    """

    def __init__(self, **settings: Any) -> None:
        """``settings``: see :class:`~mailserver.testing.settings.Settings`. Raises TypeError, ValueError and
        ConfigurationError."""
        self.settings = Settings.of(**settings)
        self.settings.config()
        self.relay = RelayReplies(self)
        self.clock = Clock(self)
        self._instance: Instance | None = None
        self._is_running = False

    # ------------------------------------------------------------ start, stop

    def start(self) -> Self:
        """Start on free ports, or on those of the settings. Raises RuntimeError, and CannotStart."""
        if self._is_running:
            raise RuntimeError("the server runs already")
        self.thread = reactor_thread()
        self.thread.call(self._begin, self.settings, {})
        return self

    def _begin(self, settings: Settings, sockets: Mapping[int, socket]) -> None:
        inbox = Inbox()
        fault = settings.tls if isinstance(settings.tls, str) else ""
        tls = FixtureTLS(self.thread.authority, settings.hostname, fault)
        instance = Instance(self.thread.reactor, settings, tls, inbox, sockets)
        self.ports: Mapping[str, Port] = {name: Port(*where) for name, where in instance.start().items()}
        self._instance, self.inbox, self._is_running = instance, inbox, True
        self.smtp = ScriptedProtocol(self, SMTP, self.ports["smtp"])
        self.pop3 = ScriptedProtocol(self, POP3, self.ports["pop3"])
        if fault:
            self._script_tls(fault)

    def stop(self) -> None:
        """Reset all connections, free the ports. All it has seen stays readable. Not in a forked child."""
        if self._is_running and not self.thread.is_of_another_process:
            self.thread.run(self.stopping())

    def reset(self) -> None:
        """Forget everything: connections, messages, accounts, rules, changes of the time. The ports stay."""
        self.thread.run(self.resetting())

    async def stopping(self) -> None:
        """As :meth:`stop`, for the thread of the servers."""
        instance, self._is_running = self.instance, False
        await instance.stop()

    async def resetting(self) -> None:
        """As :meth:`reset`, for the thread of the servers."""
        before = self.instance
        sockets = before.sockets()
        stopped = Deferred.fromCoroutine(before.stop())
        ports = {name: port.port for name, port in self.ports.items()}
        self._begin(attrs.evolve(self.settings, ports=ports), sockets)
        await stopped

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is None and (text := self.complaint()):
            raise AssertionError(text)

    @property
    def instance(self) -> Instance:
        """The server in its thread. Raises RuntimeError if it does not run."""
        if self._instance is None or not self._is_running:
            raise RuntimeError("the server does not run")
        return self._instance

    @property
    def rules(self) -> Rules:
        """The rules, also after the stop."""
        return self._seen.rules

    def never_fired(self) -> list[Rule]:
        """The rules that never acted and are not optional, and those without an act."""
        return self.rules.never_fired()

    def complaint(self) -> str:
        """The text of a failure for the rules that never acted, "" if there are none."""
        return complaint(self.never_fired())

    @property
    def _seen(self) -> Instance:
        """The server, also after its stop, to look at."""
        if self._instance is None:
            raise RuntimeError("the server has not been started")
        return self._instance

    def listen(self, protocol: str, listens: bool) -> None:
        """Begin or stop to listen on the ports of "smtp" or "pop3"."""
        self.thread.run(self.instance.listen(protocol, listens))

    def _script_tls(self, name: str) -> None:
        fault = TLS_FAULTS[name]
        acts: dict[str, Any] = {"hang": RuleBuilder.hang, "cut": RuleBuilder.cut}
        for protocol, verb, reply in (
            (self.smtp, "STARTTLS", fault.smtp_reply),
            (self.pop3, "STLS", fault.pop3_reply),
        ):
            if fault.hides:
                protocol.hide(verb)
            if fault.act:
                acts[fault.act](protocol.on("tls")).optional()
            if reply:
                protocol.on(verb).raw(reply.encode() + b"\r\n").optional()

    # ------------------------------------------------------------ addresses

    @property
    def smtp_url(self) -> str:
        """``smtp://127.0.0.1:PORT``: SMTP, with STARTTLS and AUTH for clients that want them."""
        return self._url("smtp", "smtp")

    @property
    def submission_url(self) -> str:
        """The submission port, which needs a login."""
        return self._url("smtp", "submission")

    @property
    def smtps_url(self) -> str:
        """The submission port with implicit TLS."""
        return self._url("smtps", "smtps")

    @property
    def pop3_url(self) -> str:
        """POP3, with STLS for clients that want it."""
        return self._url("pop3", "pop3")

    @property
    def pop3s_url(self) -> str:
        """POP3 with implicit TLS."""
        return self._url("pop3s", "pop3s")

    def _url(self, scheme: str, name: str) -> str:
        port = self._port(name)
        host = f"[{port.host}]" if ":" in port.host else port.host
        return f"{scheme}://{host}:{port.port}"

    def _port(self, name: str) -> Port:
        if name not in self.ports:
            raise ValueError(f"this server has no port {name}: it was made with tls=False")
        return self.ports[name]

    @property
    def submission(self) -> Port:
        """The submission port."""
        return self._port("submission")

    @property
    def smtps(self) -> Port:
        """The submission port with implicit TLS."""
        return self._port("smtps")

    @property
    def pop3s(self) -> Port:
        """The port for POP3 with implicit TLS."""
        return self._port("pop3s")

    def ssl_context(self) -> ssl.SSLContext:
        """A context for clients that trusts the certificates of the servers."""
        return self.thread.authority.ssl_context()

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority, in PEM."""
        return self.thread.authority.ca_file

    # ------------------------------------------------------------ mailboxes

    def add_account(self, address: str, password: str = PASSWORD) -> str:
        """Add an account, or change its password. Returns its address."""
        return str(self.thread.call(self.instance.accounts.add, address, password))

    def deliver(self, message: bytes | str | email.message.Message, to: str) -> CaughtMessage:
        """Put a message straight into a mailbox. Lines may end in LF or CRLF; a text becomes UTF-8."""
        mailbox = self.instance.accounts.address(to)
        uid = self.thread.call(self.instance.deliver, octets_of(message), mailbox)
        return next(each for each in self.messages if each.id == uid)

    def vanish(self, message: CaughtMessage) -> None:
        """Remove a message from its mailbox, as another program would."""
        mailbox = Address.parse(message.mailbox)
        self.thread.call(self.instance.store.remove, mailbox, self.inbox.uid(message))

    def reset_uidls(self, mailbox: str) -> None:
        """Give all messages of a mailbox new unique-ids, as a restored server does."""
        address = self.instance.accounts.address(mailbox)
        self.inbox.renamed(self.thread.call(self.instance.store.reset_uids, address))

    # ------------------------------------------------------------ what has happened

    @property
    def messages(self) -> list[CaughtMessage]:
        """All messages that came into a mailbox, also those that a client has removed since."""
        return self.inbox.messages

    @property
    def mailboxes(self) -> Mailboxes:
        """The messages that are in the mailboxes now, by address; see :class:`Mailboxes`."""
        instance = self._seen
        found = [
            each
            for each in self.messages
            if instance.store.has(Address.parse(each.mailbox), self.inbox.uid(each))
        ]
        return Mailboxes(found, instance.accounts.normal)

    @property
    def outbox(self) -> list[CaughtMessage]:
        """The messages that were relayed to other servers."""
        return self.inbox.outbox

    @property
    def sessions(self) -> list[Session]:
        """All sessions, the oldest first."""
        return self.inbox.sessions

    def wait_for(self, *, timeout: float = TIMEOUT, **match: Any) -> CaughtMessage:
        """Wait for a message that matches, in a mailbox or in the outbox; see ``matching``.

        Calls with the same conditions return one message after the other. Raises AssertionError with all
        that did arrive.
        """
        return self._wait(next_message(self.inbox, match), timeout)

    def wait_for_count(self, count: int, *, timeout: float = TIMEOUT, **match: Any) -> list[CaughtMessage]:
        """Wait until ``count`` messages match. Raises AssertionError, also if there are more.

        They may be messages that ``wait_for`` has returned.
        """
        search = so_many_messages(self.inbox, count, match)
        return exactly(count, search, self._wait(search, timeout))

    def assert_no_message(self, *, within: float = 0.0, **match: Any) -> None:
        """Raise AssertionError if a message matches, now or within some seconds."""
        search = a_message(self.inbox, match)
        if (found := self.inbox.wait(search.look, within)) is not None:
            raise search.unexpected(found)

    def wait_for_session(self, *, timeout: float = TIMEOUT, **match: Any) -> Session:
        """Wait for a session with this ``protocol`` and this ``account``, if they are given, and for its end;
        with ``closed=False`` for an open one. Calls with the same conditions return one session after the
        other. Raises AssertionError."""
        return self._wait(next_session(self.inbox, **match), timeout)

    def _wait(self, search: Search[T], timeout: float) -> T:
        found = self.inbox.wait(search.look, timeout)
        if found is None:
            raise search.failure(timeout)
        return found
