"""Situations: what a reply of our sessions is about, told from its moment and its first line.

A style has its own reply for a situation (``restyle``). The named groups of the patterns are facts that such
a reply may repeat, such as the number of messages. RFC 5321 section 4.2, RFC 1939 section 3.
"""

import re
from collections.abc import Sequence

import attrs

_COUNTED = r".*?(?P<count>\d+) messages? \((?P<octets>\d+) octets\)"
_LOGIN = ("AUTH", "AUTH STEP")
_POP3_LOGIN = ("PASS", "APOP", *_LOGIN)


@attrs.frozen
class Situation:
    """One row. A reply is of it if it is one at one of the ``moments`` (none: at any), and begins with
    ``status`` and a text that matches ``text``. The first row that fits counts.
    """

    name: str
    status: str
    moments: tuple[str, ...] = ()
    text: str = ""

    def match(self, moment: str, line: str) -> dict[str, str] | None:
        """The facts in the first line of a reply at this moment; None if it is not of this situation."""
        if (self.moments and moment not in self.moments) or not line.startswith(self.status):
            return None
        found = re.match(self.text, line[len(self.status) :].lstrip(" -"))
        return {name: text or "" for name, text in found.groupdict().items()} if found else None


SMTP_SITUATIONS: Sequence[Situation] = (
    Situation("greeting", "220", ("GREETING",)),
    Situation("helo", "250", ("HELO",)),
    Situation("ehlo", "250", ("EHLO", "LHLO")),
    Situation("starttls", "220", ("STARTTLS",)),
    Situation("login", "235", _LOGIN),
    Situation("login-failed", "535", _LOGIN),
    Situation("login-needed", "530"),
    Situation("mail", "250", ("MAIL",)),
    Situation("rcpt", "250", ("RCPT",)),
    Situation("unknown-recipient", "550", ("RCPT",), r"5\.1\.1 "),
    Situation("relaying-denied", "550", ("RCPT",), r"5\.7\.1 .*relaying denied"),
    Situation("too-many-recipients", "452", ("RCPT",), r"4\.5\.3 "),
    Situation("data", "354", ("DATA",)),
    Situation("accepted", "250", ("DOT", "BDAT"), r".*queued as (?P<id>\S+)"),
    Situation("chunk", "250", ("BDAT",)),
    Situation("size-rejected", "552", ("MAIL",), r"5\.3\.4 "),
    Situation("too-big", "552", (), r"5\.3\.4 "),
    Situation("rset", "250", ("RSET",)),
    Situation("noop", "250", ("NOOP",)),
    Situation("vrfy", "252", ("VRFY",)),
    Situation("quit", "221", ("QUIT",)),
    Situation("unknown-command", "500", (), r"5\.5\.2 command not recognized"),
)

POP3_SITUATIONS: Sequence[Situation] = (
    Situation("greeting", "+OK", ("GREETING",), r"[^<]*(?P<timestamp><.+>)?"),
    Situation("user", "+OK", ("USER",)),
    Situation("login", "+OK", _POP3_LOGIN, _COUNTED),
    Situation("login-failed", "-ERR", _POP3_LOGIN, r"\[AUTH\] "),
    Situation("in-use", "-ERR", (), r"\[IN-USE\] "),
    Situation("stls", "+OK", ("STLS",)),
    Situation("capa", "+OK", ("CAPA",)),
    Situation("list", "+OK", ("LIST",), _COUNTED),
    Situation("uidl", "+OK", ("UIDL",), "unique-id "),
    Situation("retr", "+OK", ("RETR",), r"(?P<octets>\d+) octets"),
    Situation("top", "+OK", ("TOP",)),
    Situation("dele", "+OK", ("DELE",)),
    Situation("rset", "+OK", ("RSET",)),
    Situation("noop", "+OK", ("NOOP",)),
    Situation("quit", "+OK", ("QUIT",)),
    Situation("no-such-message", "-ERR", (), "no such message"),
    Situation("already-deleted", "-ERR", (), r"message \d+ already deleted"),
    Situation("not-logged-in", "-ERR", (), r"\w+ is only allowed in the TRANSACTION state"),
    Situation("unknown-command", "-ERR", (), "unknown command"),
)

SITUATIONS = {"smtp": SMTP_SITUATIONS, "pop3": POP3_SITUATIONS}

BEFORE_LOGIN = "-before-login"
"""The ending of a name in a style: another reply for the same situation, for POP3 before the login."""


def situation_of(protocol: str, moment: str, line: str) -> tuple[str, dict[str, str]]:
    """The name of the situation that the first line of a reply tells, "" for none, and the facts in it."""
    for situation in SITUATIONS[protocol]:
        facts = situation.match(moment, line)
        if facts is not None:
            return situation.name, facts
    return "", {}
