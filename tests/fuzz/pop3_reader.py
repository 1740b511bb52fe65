"""Reads a POP3 session's replies as a client would, and says where they do not fit what was sent.

It knows nothing of the session's code: lines end with LF, each has one reply (RFC 1939 section 3), a login
goes on for as long as it is answered "+ " (RFC 5034), what stands behind STLS without waiting is gone (RFC
2595), and listings, messages and what is removed at the end follow from the replies to DELE and RSET before.
"""

import re
from collections import Counter

from mailserver.mail.surrogate import Surrogate
from tests.fuzz.broken import check
from tests.fuzz.known import PASSWORDS, usable
from tests.fuzz.proofs import Transcript, by_apop, by_password
from tests.fuzz.sent import Sent, Stream
from tests.fuzz.servers import Pop3Server
from tests.support.pop3 import FakeMessage, stuffed

STATUS = re.compile(rb"(\+OK|-ERR|\+)( [ -~\x80-\xff]*)?\r\n")
MAX_REPLY_LINE = 512
AUTHORIZATION = {b"STLS", b"AUTH", b"APOP", b"USER", b"PASS"}
ANYWHERE = {b"CAPA", b"QUIT", b"UTF8", b"LANG"}
GRANTED = AUTHORIZATION | ANYWHERE | {
    b"STAT", b"LIST", b"UIDL", b"RETR", b"TOP", b"DELE", b"NOOP", b"LAST", b"RSET",
}  # fmt: skip
COMMAND_LINE = 255


def surrogate(content: bytes) -> bytes:
    return b"".join(Surrogate().pieces([content]))


class _Reader:
    """What a client knows of the session so far."""

    def __init__(self, sent: Sent, said: bytes, server: Pop3Server, seen: Counter[str]) -> None:
        self.sent = sent
        self.said = said
        self.at = 0
        self.server = server
        self.settings = server.settings
        self.seen = seen
        self.secure = server.secure
        self.user: bytes | None = None  # the argument of USER, until PASS
        self.login: Transcript | None = None
        self.logged_in = False
        self.marked: set[int] = set()
        self.retrieved: set[int] = set()
        self.utf8 = False
        self.language = b"en"

    @property
    def allowed(self) -> bool:
        return self.secure or self.settings.plaintext_auth

    @property
    def mechanisms(self) -> frozenset[str]:
        return usable(self.settings.mechanisms, self.secure, self.settings.plaintext_auth)

    def read(self) -> None:
        server, leaving = self.server, False
        while (line := self.sent.line()) is not None:
            if self.at == len(self.said):
                check(server.session.closed, "each command has a reply", line[:100])
                break
            leaving = False
            first = self.line()
            status = first.partition(b" ")[0].strip()
            if self.login is not None:
                self.seen[f"response {status.decode()}"] += 1
                self.login.say(line)
                self.went_on(status, first)
                continue
            name, _, raw = line.partition(b" ")
            name = name.upper()
            known = name.decode() if name in GRANTED else "unknown"
            self.seen[f"{known} {status.decode()}"] += 1
            self.command(name, raw, status, first, len(line) + 2 > COMMAND_LINE)
            # [SYS/PERM] to QUIT: the account has been removed during the session.
            leaving = name == b"QUIT" and not raw.strip(b" ") and self.logged_in
            leaving = leaving and not first.startswith(b"-ERR [SYS/PERM]")
        check(self.at == len(self.said), "nothing is said unasked", self.said[self.at :][:200])
        check(server.discarded == self.sent.lost, "what stands behind STLS is gone, no more")
        if self.settings.expire.days == 0:
            self.marked |= self.retrieved
        wanted = sorted(number - 1 for number in self.marked if number - 1 not in server.undeletable)
        removed = tuple(wanted) if leaving and server.session.closed else None
        check(server.removed == removed, "QUIT removes what is marked, and nothing else does", server.removed)

    def line(self) -> bytes:
        """The first line of a reply."""
        found = STATUS.match(self.said, self.at)
        check(found is not None, "replies are well-formed", self.said[self.at :][:200])
        assert found is not None
        check(len(found[0]) <= MAX_REPLY_LINE, "reply lines are short enough", found[0])
        # The reply to LANG is in its own language.
        is_russian = self.language == b"ru" or found[0].startswith(b"+OK ru ")
        check(found[0].isascii() or is_russian, "only Russian is not in ASCII", found[0])
        self.at = found.end()
        return found[0]

    def lines(self) -> bytes:
        """What follows the first line, up to the final dot."""
        start = self.at
        end = self.said.find(b"\r\n.\r\n", start - 2)
        check(end >= 0, "multi-line replies end with a dot", self.said[start:][:200])
        self.at = end + 5
        return self.said[start : end + 2]

    def command(self, name: bytes, raw: bytes, status: bytes, first: bytes, is_long: bool) -> None:
        argument = raw.strip(b" ")
        if status != b"-ERR":
            check(name in GRANTED, "only commands that exist are granted", name)
            right_state = name in ANYWHERE or (name in AUTHORIZATION) != self.logged_in
            check(right_state, "commands are granted in their state alone", name)
        if name == b"AUTH":
            self.begin(raw, status, first)
        elif status == b"+OK":
            self.granted(name, argument, first)
        check(status != b"+" or name == b"AUTH", "only a login goes on", name)
        if name == b"USER" and status == b"+OK":
            check(self.allowed, "no password comes in the clear where it may not", argument)
            self.user = argument
        elif name == b"PASS" and raw and b"\0" not in raw and not self.logged_in and not is_long:
            self.tried(raw, status)
        elif name == b"APOP" and status == b"+OK":
            user, _, digest = argument.partition(b" ")
            timestamp = self.server.timestamp
            right = timestamp and by_apop(user, digest.strip(b" "), timestamp, self.server.passwords)
            check(bool(right), "nobody is let in without a proof", argument)
            self.logged_in = True

    def granted(self, name: bytes, argument: bytes, first: bytes) -> None:
        """A command was answered +OK."""
        if name in (b"LIST", b"UIDL"):
            rows = self.rows(name == b"UIDL")
            if argument:
                row = b" ".join(first.split()[1:])
                check(row in rows, "LIST and UIDL tell of one message", row)
            else:
                listed = self.lines().splitlines()
                check(listed == rows, "LIST and UIDL tell of every message", listed, "wanted", rows)
        elif name == b"RETR":
            message = self.server.messages[int(argument) - 1]
            self.retrieved.add(int(argument))
            check(b"%d" % self.size(message) in first.split(), "RETR tells the size", first)
            got = self.lines()
            content = message.content if self.size(message) == message.size else surrogate(message.content)
            wanted = stuffed(content) if content else b""
            check(got == wanted, "RETR sends the message", got[:200], "wanted", wanted[:200])
        elif name == b"TOP":
            self.lines()
        elif name == b"CAPA":
            self.offered(self.lines())
        elif name == b"STAT":
            sizes = [int(row.split()[1]) for row in self.rows(0)]
            check(first == b"+OK %d %d\r\n" % (len(sizes), sum(sizes)), "STAT counts what is left", first)
        elif name == b"DELE":
            self.marked.add(int(argument))
        elif name == b"RSET":
            self.marked.clear()
            self.retrieved.clear()
        elif name == b"UTF8":
            self.utf8 = True
        elif name == b"LANG" and argument:
            self.language = first.split()[1]
            check(self.language in (b"en", b"ru"), "LANG tells the language", first)
        elif name == b"LANG":
            tags = [line.split()[0] for line in self.lines().splitlines()]
            check(tags == [b"en", b"ru"], "LANG lists the languages", tags)
        elif name == b"STLS":
            check(self.settings.starttls and not self.secure, "TLS begins once, where it is offered")
            self.sent.forget()
            check(not self.utf8, "TLS does not begin after UTF8")
            self.secure, self.user, self.language = True, None, b"en"

    def size(self, message: FakeMessage) -> int:
        """The octets for the client: without UTF8, the surrogate of a message with UTF-8 in its header."""
        has_surrogate = message.surrogate is not None and not self.utf8
        return message.surrogate if has_surrogate else message.size  # type: ignore[return-value]

    def rows(self, column: int) -> list[bytes]:
        """What LIST (0) or UIDL (1) must tell of the messages that are not marked."""
        return [
            b"%d %s" % (number, (str(self.size(message)), message.uid)[column].encode())
            for number, message in enumerate(self.server.messages, 1)
            if number not in self.marked
        ]

    def offered(self, lines: bytes) -> None:
        """CAPA lists what may be used."""
        listed = {words[0]: set(words[1:]) for line in lines.splitlines() if (words := line.split())}
        may_tls = self.settings.starttls and not self.secure and not self.logged_in
        check((b"STLS" in listed) == may_tls, "CAPA lists STLS where it can be had", lines)
        check((b"USER" in listed) == self.allowed, "CAPA lists USER where it can be used", lines)
        check({b"UTF8", b"LANG", b"EXPIRE"} <= set(listed), "CAPA lists what all may use", lines)
        wanted = {name.encode() for name in self.mechanisms}
        check(listed.get(b"SASL", set()) == wanted, "CAPA lists the mechanisms that can be used", lines)

    # ------------------------------------------------------------ logins

    def tried(self, password: bytes, status: bytes) -> None:
        """PASS, with some password."""
        user, self.user = self.user, None
        right = user is not None and by_password(user, password, self.server.passwords)
        if status == b"+OK":
            check(bool(right), "nobody is let in without a proof", user, password)
            self.logged_in = True
        elif user is not None and user.isascii() and self.in_order:
            check(not right, "who has the proof is let in", user, password)

    @property
    def in_order(self) -> bool:
        """Whether logins work on this server."""
        return self.server.trouble is None and self.server.accounts is PASSWORDS

    def begin(self, raw: bytes, status: bytes, first: bytes) -> None:
        if not raw.strip(b" ") and status == b"+OK":
            listed = {line.decode() for line in self.lines().splitlines()}
            check(listed == self.mechanisms, "AUTH lists the mechanisms that can be used", listed)
            return
        mechanism, *initial = raw.strip(b" ").split(b" ")
        name = mechanism.upper().decode("latin-1")
        if self.logged_in or name not in self.mechanisms or len(initial) > 1:
            check(status == b"-ERR", "a secret is read only where a login is possible", raw)
            return
        self.login = Transcript(name)
        self.login.begin(initial[0] if initial else None)
        self.went_on(status, first)

    def went_on(self, status: bytes, first: bytes) -> None:
        """What became of the exchange."""
        login = self.login
        assert login is not None
        if status == b"+":
            login.hear(first[2:-2])
            return
        self.login = None
        if status == b"+OK":
            login.granted(self.server.passwords)
            self.logged_in = True
            self.seen[f"{login.mechanism} in"] += 1
        elif self.in_order:
            login.refused(self.server.passwords)


def read(stream: Stream, said: bytes, server: Pop3Server, seen: Counter[str]) -> Sent:
    """Check what was said after the greeting against all that was sent; count it in ``seen``."""
    reader = _Reader(Sent(stream), said, server, seen)
    reader.read()
    return reader.sent
