"""Runs the client of a recorded session against a server, by a plain socket.

The client of the record is repeated, not its timing: each line goes out when as many replies have come as in
the record. Passwords are not in a record, so the replay logs in with those that it is given. A server that
says less than the recorded one ends the replay after the time-out; :func:`differences` shows where.
"""

import difflib
import re
import socket
import ssl
import time
from urllib.parse import urlsplit

import attrs

from mailserver.faults.transcript import Transcript, TranscriptEntry
from mailserver.mail.ids import new_id
from mailserver.sasl.client_steps import ClientLoginFailed
from mailserver.testing.replayed_login import ReplayedLogin
from mailserver.testing.reply_counter import ReplyCounter

_SCHEMES = {
    **dict.fromkeys(("smtp", "smtps", "submission", "submissions", "lmtp"), "smtp"),
    **dict.fromkeys(("pop3", "pop3s"), "pop3"),
}
_MAX_READ = 65536
_STATUS = re.compile(
    r"(?P<code>[0-9]{3}|\+OK|-ERR|\+)(?:[ -](?P<detail>[245]\.[0-9]{1,3}\.[0-9]{1,3}|\[[A-Z/-]+\]))?"
)


class _Ended(Exception):
    """The server does not allow the replay to go on. The text is its last event."""


def replay(
    transcript: Transcript,
    url: str,
    *,
    password: str = "secret",
    user: str = "",
    timeout: float = 5.0,
    ssl_context: ssl.SSLContext | None = None,
) -> Transcript:
    """Run the client of a ``transcript`` against a server. Returns the transcript of the new session.

    ``url``: such as "smtp://127.0.0.1:2525" or "pop3s://mail.example.test:995". ``user`` logs in where the
    record does not name the account. ``timeout`` is for each wait, in seconds. ``ssl_context`` is the default
    one unless given. A server that closes the connection early, or does not reply, is no error: an event at
    the end of the transcript says so. Raises ValueError for a record that cannot be repeated, and OSError
    if there is no connection.
    """
    parts = urlsplit(url)
    if _SCHEMES.get(parts.scheme) != transcript.protocol or not parts.hostname or not parts.port:
        raise ValueError(f"a session of {transcript.protocol} cannot be repeated at {url!r}")
    steps = _steps_of(transcript)
    context = ssl_context or ssl.create_default_context()
    with socket.create_connection((parts.hostname, parts.port), timeout) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        login = ReplayedLogin(password, user or _account_of(transcript))
        player = _Player(transcript.protocol, connected, parts.hostname, context, login)
        try:
            player.run(steps, implicit_tls=parts.scheme.endswith("s"))
        finally:
            player.socket.close()
    return player.record


@attrs.frozen
class ReplayStep:
    """What the client sends: ``entry``, after the server has sent ``replies`` replies in all."""

    entry: TranscriptEntry
    replies: int


def _steps_of(transcript: Transcript) -> list[ReplayStep]:
    """The steps of a record, and a last one without octets after all of its replies."""
    counter = ReplyCounter(transcript.protocol)
    steps = []
    rest = b""
    entry = None
    for entry in transcript.entries:
        if entry.who == "client":
            if entry.omitted:
                raise ValueError(f"the record lacks {entry.omitted} octets of a message")
            steps.append(ReplayStep(entry, counter.count))
            counter.command(entry.data)
        elif entry.kind == "reply":
            *lines, rest = (rest + entry.data).split(b"\n")
            for line in lines:
                counter.line(line)
            if entry.omitted:
                counter.end()
                rest = b""
    if entry is not None:
        last = TranscriptEntry(entry.time, "event", 0, b"", entry.tls)
        steps.append(ReplayStep(last, counter.count))
    return steps


def _account_of(transcript: Transcript) -> str:
    """The account that an event of the record names."""
    found = (entry.text.partition("logged in as ") for entry in transcript.entries if entry.kind == "event")
    return next((account for _, said, account in found if said), "user@example.test")


class _Player:
    """The client's side of a replay. ``record`` is its transcript."""

    def __init__(
        self,
        protocol: str,
        connected: socket.socket,
        host: str,
        context: ssl.SSLContext,
        login: ReplayedLogin,
    ) -> None:
        self.socket = connected
        self._host = host
        self._context = context
        self._login = login
        self._tls = False
        self._counter = ReplyCounter(protocol)
        self._rest = b""
        self._skipped = 0  # replies of the record to what is not sent here
        self.record = Transcript(new_id(), protocol, connected.getsockname()[0], time.time())

    def run(self, steps: list[ReplayStep], *, implicit_tls: bool) -> None:
        """Take all steps, then read until the server closes if the client has asked for that."""
        try:
            if implicit_tls:
                self._begin_tls()
            for index, step in enumerate(steps):
                self._wait_for(step.replies - self._skipped)
                if index and not self._may_follow(steps[index - 1].entry, step.entry):
                    self._skipped += steps[index + 1].replies - step.replies
                elif step.entry.octets:
                    self._begin_tls_after(steps[index - 1].entry if index else None, step.entry)
                    self._send(step)
            if len(steps) > 1 and steps[-2].entry.verb == "QUIT":
                self._wait_for(None)
        except (_Ended, ClientLoginFailed, OSError) as error:
            self._event(str(error) or type(error).__name__)
        else:
            self._event("connection closed")

    def _may_follow(self, before: TranscriptEntry, entry: TranscriptEntry) -> bool:
        """Whether the server expects this. It would take the text of a message for commands."""
        is_text = entry.kind == "content" and before.verb == "DATA"
        return self._counter.continues or not (is_text or entry.kind == "response")

    def _send(self, step: ReplayStep) -> None:
        entry = step.entry
        now = time.time()
        if entry.kind == "content":
            self.record.text(entry.data, now, self._tls)
            data = entry.data
        else:
            data = self._login.filled(entry, self._counter.last)
            self.record.command(data, now, tls=self._tls, in_login=entry.kind == "response")
        self._counter.command(data)
        self.socket.sendall(data)

    def _wait_for(self, count: int | None) -> None:
        """Read until so many replies have come, or with None until the end."""
        while count is None or self._counter.count < count:
            try:
                data = self.socket.recv(_MAX_READ)
            except TimeoutError:
                what = "no reply" if count is not None else "connection still open"
                raise _Ended(f"{what} after {self.socket.gettimeout()} seconds") from None
            if not data:
                if count is None:
                    return
                raise _Ended("connection closed by the server")
            self.record.reply(data, time.time(), self._tls)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._counter.line(line)
                self._login.greet(line)

    def _begin_tls_after(self, before: TranscriptEntry | None, entry: TranscriptEntry) -> None:
        if before is None or before.verb not in ("STARTTLS", "STLS") or not entry.tls or self._tls:
            return
        if not self._counter.is_positive:
            raise _Ended("the server has rejected TLS")
        self._begin_tls()

    def _begin_tls(self) -> None:
        secured = self._context.wrap_socket(self.socket, server_hostname=self._host)
        self.socket = secured
        self._tls = True
        version, cipher = secured.version(), secured.cipher()
        self._event(f"{version} with {cipher[0] if cipher else None}")

    def _event(self, text: str) -> None:
        self.record.event(text, time.time(), self._tls)


# ------------------------------------------------------------ comparing


def differences(old: Transcript, new: Transcript) -> list[str]:
    """What the replies of ``new`` are that those of ``old`` are not, one sentence each, in their order.

    Only codes count: those of replies, and enhanced or extended codes where both have one. What the clients
    have sent says which replies belong together.
    """
    before, after = _exchanges(old), _exchanges(new)
    names, new_names = ([name for name, _ in exchanges] for exchanges in (before, after))
    found = []
    matcher = difflib.SequenceMatcher(None, names, new_names, autojunk=False)
    for what, start, end, new_start, new_end in matcher.get_opcodes():
        if what == "equal":
            for (name, one), (_, other) in zip(before[start:end], after[new_start:new_end], strict=True):
                if not _fit(one, other):
                    found.append(
                        f"{name}: {' '.join(one) or 'nothing'} became {' '.join(other) or 'nothing'}"
                    )
        else:
            found += [f"{name}: not sent again ({' '.join(one)})" for name, one in before[start:end]]
            found += [f"{name}: new ({' '.join(one)})" for name, one in after[new_start:new_end]]
    return found


def _exchanges(transcript: Transcript) -> list[tuple[str, list[str]]]:
    """What the client has sent, each with the codes of the replies to it."""
    exchanges: list[tuple[str, list[str]]] = [("greeting", [])]
    for entry in transcript.entries:
        if entry.who == "client":
            name = {"content": "message", "response": "response of AUTH"}.get(entry.kind, entry.text)
            exchanges.append((name, []))
    position = 0
    for entry in transcript.entries:
        position += entry.who == "client"
        exchanges[position][1].extend(map(_status, transcript.replies_of(entry)))
    return exchanges


def _status(reply: str) -> str:
    match = _STATUS.match(reply)
    return " ".join(filter(None, match.groups())) if match else "no reply of the protocol"


def _fit(one: list[str], other: list[str]) -> bool:
    return len(one) == len(other) and all(
        a == b or a == b.partition(" ")[0] or b == a.partition(" ")[0]
        for a, b in zip(one, other, strict=True)
    )
