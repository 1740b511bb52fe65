"""The beginning of a sending session: greeting, EHLO or HELO, STARTTLS (RFC 3207), AUTH (RFC 4954)."""

import attrs

from mailserver.sasl.client import (
    BindingData,
    ClientChannel,
    ClientExchange,
    ClientMechanism,
    unbound,
    usable,
)
from mailserver.sasl.client_steps import ClientLoginFailed
from mailserver.smtp.sender.core import ClientCommand, ClientCore
from mailserver.smtp.sender.events import CloseCause, SessionReady, StartTLS
from mailserver.smtp.sender.extensions import NO_EXTENSIONS, read_extensions
from mailserver.smtp.sender.replies import ServerReply
from mailserver.smtp.sender.settings import SenderSettings
from mailserver.smtp.sender.states import SenderState, Trigger

# RFC 4954 section 4: an initial response must fit into a command line.
MAX_COMMAND = 512

# The mechanism cannot be used here: RFC 4954 sections 4 and 6. Another one may work.
_UNSUITABLE = frozenset({504, 534})

# Maximum characters of the list of mechanisms in a text.
MAX_NAMES = 200

# The first characters of a response are enough to find it in a reply that repeats it.
REPEATED = 16


class SessionOpening(ClientCore):
    """The handlers of the replies before the first message."""

    __slots__ = ("_channel", "_exchange", "_held", "_mechanisms", "_said", "_server", "_settings")

    def __init__(self, settings: SenderSettings) -> None:
        super().__init__(GREETING)
        self._settings = settings
        self._channel = ClientChannel()
        self._server = ""
        self._mechanisms: list[ClientMechanism] = []  # those that are still to be tried
        self._exchange: ClientExchange | None = None
        self._said: list[str] = []  # the beginnings of the lines of the login
        self._held: bytes | None = None  # the initial response that did not fit into the command

    @property
    def encrypted(self) -> bool:
        """Whether TLS is active."""
        return self._channel.encrypted

    def tls_started(self, binding: BindingData = unbound) -> None:
        """TLS is active: after :class:`StartTLS`, or, with implicit TLS, before the first ``receive``.

        The session forgets all it knows about the server (RFC 3207 section 4.2). ``binding`` returns the data
        of a channel binding type ("tls-exporter", "tls-server-end-point") for SCRAM, None if there is none.
        Ignored if the session is closed. Raises RuntimeError at any other time.
        """
        if self.closed:
            return
        implicit = self.state is SenderState.GREETING
        self._go(Trigger.TLS_STARTED)
        self._channel = ClientChannel(encrypted=True, binding=binding)
        self.extensions = NO_EXTENSIONS
        if not implicit:
            self._say_hello()

    # ------------------------------------------------------------ replies

    def greeted(self, reply: ServerReply) -> Trigger | None:
        if reply.code != 220:
            self._refused("the server does not accept the connection", reply)
            return None
        self._server = reply.lines[0]
        self._say_hello()
        return Trigger.GREETED

    def _say_hello(self) -> None:
        self._send(EHLO, f"{self._hello} {self._settings.hostname}".encode())

    @property
    def _hello(self) -> str:
        return "LHLO" if self._settings.protocol == "lmtp" else "EHLO"

    def ehlo_replied(self, reply: ServerReply) -> Trigger | None:
        if reply.code == 250:
            self.extensions = read_extensions(reply)
            return self._secure()
        if reply.code // 100 == 5 and self._settings.protocol == "smtp":
            self._send(HELO, f"HELO {self._settings.hostname}".encode())
            return Trigger.HELLO_REJECTED
        self._refused(f"the server rejects {self._hello}", reply)
        return None

    def helo_replied(self, reply: ServerReply) -> Trigger | None:
        if reply.code == 250:
            return self._secure()
        self._refused("the server rejects HELO", reply)
        return None

    def _secure(self) -> Trigger | None:
        if self.encrypted or self._settings.start_tls == "never":
            return self._log_in()
        if self.extensions.start_tls:
            self._send(STARTTLS, b"STARTTLS")
            return Trigger.TLS_CHOSEN
        return self._log_in_without_tls(None)

    def starttls_replied(self, reply: ServerReply) -> Trigger | None:
        if reply.code == 220:
            self._events.append(StartTLS())
            return Trigger.TLS_ACCEPTED
        return self._log_in_without_tls(reply)

    def _log_in_without_tls(self, reply: ServerReply | None) -> Trigger | None:
        if self._settings.start_tls == "required":
            text = "TLS is required, but the server " + (
                f"rejects it: {reply}" if reply else "does not offer it"
            )
            self._close(CloseCause.NO_TLS, text, reply, quit=True)
            return None
        return self._log_in()

    # ------------------------------------------------------------ the login

    def _log_in(self) -> Trigger | None:
        credentials = self._settings.credentials
        if credentials is None:
            return self._ready()
        self._channel = attrs.evolve(self._channel, offered=frozenset(self.extensions.auth))
        self._mechanisms = usable(credentials, self._channel, may_reveal=self._settings.plaintext_auth)
        if not self._mechanisms:
            names = ", ".join(self.extensions.auth) or "none"
            where = "" if self.encrypted else " without TLS"
            self._login_failed(f"no usable mechanism{where}; the server offers: {names:.{MAX_NAMES}}")
            return None
        return self._try_next_mechanism()

    def _try_next_mechanism(self) -> Trigger:
        assert self._settings.credentials is not None
        mechanism = self._mechanisms.pop(0)
        self._exchange = ClientExchange(mechanism, self._settings.credentials, self._channel)
        command = b"AUTH " + mechanism.name.encode()
        initial = self._exchange.begin()
        if initial is None or len(command) + len(initial) + 3 > MAX_COMMAND:
            self._held = initial
            self._send(AUTH, command)
        else:
            self._held = None
            self._send_response(initial, command + b" ")
        return Trigger.LOGIN_CHOSEN

    def auth_replied(self, reply: ServerReply) -> Trigger | None:
        reply = self._withhold_secrets(reply)
        exchange = self._exchange
        assert exchange is not None
        try:
            if reply.code == 235:
                exchange.succeed()
                return self._ready()
            if reply.code == 334:
                self._respond(exchange, reply)
                return Trigger.CHALLENGED
        except ClientLoginFailed as failure:
            if reply.code == 334:
                self._send(AUTH, b"*")
            self._login_failed(f"{exchange.mechanism.name}: {failure}")
            return None
        if reply.code in _UNSUITABLE and self._mechanisms:
            return self._try_next_mechanism()
        self._login_failed(f"{exchange.mechanism.name}: {reply}", reply)
        return None

    def _respond(self, exchange: ClientExchange, reply: ServerReply) -> None:
        held, self._held = self._held, None
        self._send_response(exchange.respond(reply.lines[0].encode()) if held is None else held)

    def _send_response(self, response: bytes, command: bytes = b"") -> None:
        # Some servers repeat lines that they do not understand: see below.
        self._said.append(response.decode()[:REPEATED])
        self._send(AUTH, command + response)

    def _withhold_secrets(self, reply: ServerReply) -> ServerReply:
        """The reply, without its text if that repeats what the session has sent."""
        credentials = self._settings.credentials
        assert credentials is not None
        text = " ".join(reply.lines)
        secrets = filter(None, (credentials.password, credentials.token, *self._said))
        if reply.code != 334 and any(secret in text for secret in secrets):
            return ServerReply(reply.code, ("(text withheld, it repeats the login)",))
        return reply

    def _ready(self) -> Trigger:
        self._exchange = None
        self._said.clear()
        self._events.append(SessionReady(self._server, self.extensions))
        return Trigger.READY

    def _refused(self, text: str, reply: ServerReply) -> None:
        self._close(CloseCause.REFUSED, f"{text}: {reply}", reply, quit=True)

    def _login_failed(self, text: str, reply: ServerReply | None = None) -> None:
        self._close(CloseCause.NO_LOGIN, f"the login has failed: {text}", reply, quit=True)


GREETING = ClientCommand("the greeting", 300, SessionOpening.greeted)
EHLO = ClientCommand("the reply to EHLO", 300, SessionOpening.ehlo_replied)
HELO = ClientCommand("the reply to HELO", 300, SessionOpening.helo_replied)
STARTTLS = ClientCommand("the reply to STARTTLS", 120, SessionOpening.starttls_replied)
AUTH = ClientCommand("the reply to AUTH", 180, SessionOpening.auth_replied)
