"""docs/protocols.md as data, and how its replies look on the wire."""

import re

import attrs

from tests.support.docs import observed
from tests.support.docs.page import ROOT, Page, span, spans
from tests.support.smtp import SETTINGS, FakeServer

PAGE = Page.read(ROOT / "docs" / "protocols.md")
SOURCE = ROOT / "mailserver"
SMTP_COMMANDS = {span(row["Command"]): row for row in PAGE.table("SMTP commands", "Legal when")}
POP3_COMMANDS = {span(row["Command"]): row for row in PAGE.table("POP3 commands", "Legal in")}
TELLS = attrs.evolve(SETTINGS, verify="always", no_soliciting=("other.example:ADV",))

PLACEHOLDERS = {
    "N messages": r"(?:1 message|\d+ messages)",
    "LIST": r"\d+(?:, \d+)+(?: and \d+ more)?",
    "HOST": r"\S+",
    "NAME": r"[!-~]+",
    "TAG": r"[a-z-]+",
    "UID": r"[!-~]{1,70}",
    "BASE64": r"[A-Za-z0-9+/]*={0,2}",
    "SYNTAX": r".+",
    "VERB": r"[A-Z0-9]+",
    "STATES": r"(?:AUTHORIZATION|TRANSACTION)(?: or TRANSACTION)?",
    "N": r"\d+",
    "M": r"\d+",
}
_PLACEHOLDER = re.compile(r"N messages|\b(?:LIST|HOST|NAME|TAG|UID|BASE64|SYNTAX|VERB|STATES|N|M)\b")


def keyword(syntax: str) -> str:
    return syntax.partition(" ")[0]


def names(cell: str) -> set[str]:
    return set(cell.split(", "))


def in_place_of_any(heading: str) -> set[str]:
    return {span(row["Reply"]) for row in PAGE.table(heading, "Reply")}


def pattern(reply: str) -> re.Pattern[str]:
    """What a reply of the page may look like on the wire."""
    parts, end = "", 0
    for found in _PLACEHOLDER.finditer(reply):
        parts += re.escape(reply[end : found.start()]) + PLACEHOLDERS[found[0]]
        end = found.end()
    return re.compile(parts + re.escape(reply[end:]))


def pop3_spans(cell: str) -> list[str]:
    return [text for text in spans(cell) if text.startswith(("+OK", "-ERR", "+ "))]


def answer(line: str, strict: bool = False, *, logged_in: bool = False) -> str:
    """The code of the reply to a command of SMTP, in a state where it is legal if there is one.

    ``logged_in``: alice has logged in, over TLS.
    """
    server = FakeServer(attrs.evolve(TELLS, strict_syntax=strict, mechanisms=("PLAIN",)), secure=logged_in)
    server.greeting()
    if logged_in:
        server.feed(b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n")
    before = {"MAIL": b"EHLO c\r\n", "RCPT": b"EHLO c\r\nMAIL FROM:<a@b.example>\r\n"}
    server.feed(before.get(observed.verb(line.encode()), b""))
    return observed.code(server.feed(line.encode() + b"\r\n"))
