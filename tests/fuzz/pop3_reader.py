"""Reads a POP3 session's replies as a client would, and says where they do not fit what was sent.

It knows nothing of the session's code: lines end with LF, each has one reply (RFC 1939 section 3), and
listings, messages and what is removed at the end follow from the replies to DELE and RSET before.
"""

import re
from collections import Counter

from tests.fuzz.broken import check
from tests.pop3.pop3_fakes import FakeServer, stuffed

STATUS = re.compile(rb"(\+OK|-ERR)( [ -~]*)?\r\n")
MAX_REPLY_LINE = 512
GRANTED = {
    b"USER", b"PASS", b"STAT", b"LIST", b"UIDL", b"RETR", b"TOP", b"DELE", b"NOOP", b"LAST", b"RSET",
    b"CAPA", b"QUIT",
}  # fmt: skip


class _Reader:
    def __init__(self, said: bytes, server: FakeServer) -> None:
        self.said = said
        self.server = server
        self.marked: set[int] = set()

    def line(self) -> bytes:
        """The first line of a reply."""
        found = STATUS.match(self.said)
        check(found is not None, "replies are well-formed", self.said[:200])
        assert found is not None
        check(len(found[0]) <= MAX_REPLY_LINE, "reply lines are short enough", found[0])
        self.said = self.said[found.end() :]
        return found[0]

    def lines(self) -> bytes:
        """What follows the first line, up to the final dot."""
        text, dot, self.said = (b"\r\n" + self.said).partition(b"\r\n.\r\n")
        check(bool(dot), "multi-line replies end with a dot", text[:200])
        return text[2:] + b"\r\n" if text else b""

    def rows(self, column: int) -> list[bytes]:
        """What LIST (0) or UIDL (1) must tell of the messages that are not marked."""
        return [
            b"%d %s" % (number, (str(message.size), message.uid)[column].encode())
            for number, message in enumerate(self.server.messages, 1)
            if number not in self.marked
        ]

    def granted(self, name: bytes, argument: bytes, first: bytes) -> None:
        """A command was answered +OK."""
        check(name in GRANTED, "only commands that exist are granted", name)
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
            check(first == b"+OK %d octets\r\n" % message.size, "RETR tells the size", first)
            got = self.lines()
            wanted = stuffed(message.content) if message.content else b""
            check(got == wanted, "RETR sends the message", got[:200], "wanted", wanted[:200])
        elif name in (b"TOP", b"CAPA"):
            self.lines()
        elif name == b"STAT":
            sizes = [int(row.split()[1]) for row in self.rows(0)]
            check(first == b"+OK %d %d\r\n" % (len(sizes), sum(sizes)), "STAT counts what is left", first)
        elif name == b"DELE":
            self.marked.add(int(argument))
        elif name == b"RSET":
            self.marked.clear()


def read(sent: bytes, said: bytes, server: FakeServer, seen: Counter[str]) -> None:
    """Check what was said after the greeting against all that was sent; count it in ``seen``."""
    reader = _Reader(said, server)
    leaving = logged_in = False
    for line in sent.split(b"\n")[:-1]:
        if not reader.said:
            check(server.session.closed, "each command has a reply", line[:100])
            break
        name, _, argument = line.removesuffix(b"\r").partition(b" ")
        name, argument = name.upper(), argument.strip(b" ")
        first = reader.line()
        known = name.decode() if name in GRANTED else "unknown"
        seen[f"{known} {first[:4].decode().strip()}"] += 1
        if first.startswith(b"+OK"):
            reader.granted(name, argument, first)
            logged_in = logged_in or name == b"PASS"
        leaving = name == b"QUIT" and not argument and logged_in
    check(reader.said == b"", "nothing is said unasked", reader.said[:200])
    wanted = sorted(number - 1 for number in reader.marked if number - 1 not in server.undeletable)
    removed = tuple(wanted) if leaving and server.session.closed else None
    check(server.removed == removed, "QUIT removes what is marked, and nothing else does", server.removed)
