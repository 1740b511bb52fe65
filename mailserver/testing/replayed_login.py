"""The secrets of a replay: a record has none, so they are made anew for each login."""

import re

from mailserver.faults.transcript import MASK, TranscriptEntry
from mailserver.sasl.apop import apop_digest
from mailserver.sasl.client import CLIENT_MECHANISMS, ClientChannel, ClientCredentials, ClientExchange

_TIMESTAMP = re.compile(rb"<[!-;=?-~]+@[!-;=?-~]+>")
_MASK = MASK.encode()


class ReplayedLogin:
    """Fills in what is masked in the lines of a recorded client."""

    def __init__(self, password: str, user: str) -> None:
        """``user`` is the name for mechanisms whose record does not show it; a token is the password."""
        self._password = password
        self._credentials = ClientCredentials(user, password, password)
        self._timestamp = ""
        self._exchange: ClientExchange | None = None
        self._first: bytes | None = None  # the first response, if the client has not sent it with AUTH

    def greet(self, line: bytes) -> None:
        """The greeting of the server. APOP needs its timestamp (RFC 1939 section 7)."""
        if match := _TIMESTAMP.search(line):
            self._timestamp = match[0].decode()

    def filled(self, entry: TranscriptEntry, last_reply: bytes) -> bytes:
        """The octets of a line. ``last_reply`` may have a challenge.

        Raises ValueError for a mechanism that a client here does not have, and
        :class:`~mailserver.sasl.client_steps.ClientLoginFailed` for a challenge that is wrong.
        """
        line = entry.data
        if entry.kind == "response":
            return self._response(line, last_reply)
        match entry.verb:
            case "AUTH":
                return self._auth(line)
            case "PASS":
                return line.replace(_MASK, self._password.encode())
            case "APOP":
                return line.replace(_MASK, apop_digest(self._timestamp, self._password).encode())
        return line

    def _auth(self, line: bytes) -> bytes:
        words = line.decode(errors="replace").split()
        self._exchange = None
        if len(words) < 2:
            return line  # POP3: the list of mechanisms
        mechanism = CLIENT_MECHANISMS.get(words[1].upper())
        if mechanism is None or mechanism.binds:
            if _MASK in line:
                raise ValueError(f"a login by {words[1]} cannot be repeated")
            return line
        self._exchange = ClientExchange(mechanism, self._credentials, ClientChannel())
        self._first = self._exchange.begin()
        if _MASK not in line:
            return line
        initial = self._exchange.respond(b"") if self._first is None else self._first
        self._first = None
        return line.replace(_MASK, initial)

    def _response(self, line: bytes, last_reply: bytes) -> bytes:
        if _MASK not in line or self._exchange is None:
            return line
        if self._first is None:
            return line.replace(_MASK, self._exchange.respond(last_reply.partition(b" ")[2]))
        response, self._first = self._first, None
        return line.replace(_MASK, response)
