"""The verb table: the only authority on which command is legal when, and how it is read.

The states are those of RFC 5321 section 4.1.4; limits on line lengths are of section 4.5.3.1.4.
"""

from collections.abc import Callable, Mapping
from enum import Enum

import attrs

from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.settings import Settings
from mailserver.smtp.syntax import (
    parse_anything,
    parse_host,
    parse_mail,
    parse_nothing,
    parse_rcpt,
    parse_string,
)


class Phase(Enum):
    """Where a session is."""

    CONNECTED = "no HELO or EHLO yet"
    IDLE = "between transactions"
    SENDER = "the reverse-path is known"
    RECIPIENTS = "at least one recipient is known"
    TEXT = "the message is arriving"
    CLOSED = "the session is over"


COMMAND_LINE = 512

_HELLO_FIRST = {Phase.CONNECTED: "send EHLO or HELO first"}


@attrs.frozen
class Verb:
    """One command.

    ``out_of_order`` has the phases in which the command is a 503, each with the reason; in every
    other phase that reads commands it is legal. ``max_line`` counts octets, CRLF included.
    """

    name: str
    syntax: str
    about: str
    parse: Callable[[str, Settings], object]
    out_of_order: Mapping[Phase, str] = attrs.field(factory=dict)
    max_line: int = COMMAND_LINE


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("HELO", "HELO host", "says who the client is and begins a session", parse_host),
        Verb("EHLO", "EHLO host", "the same, and asks for the list of extensions", parse_host),
        Verb(
            "MAIL",
            "MAIL FROM:<address> [parameters]",
            "begins a transaction with the reverse-path; <> is the null one",
            parse_mail,
            {
                **_HELLO_FIRST,
                Phase.SENDER: "a transaction is open already; RSET ends it",
                Phase.RECIPIENTS: "a transaction is open already; RSET ends it",
            },
            COMMAND_LINE + sum(extension.mail_octets for extension in EXTENSIONS),
        ),
        Verb(
            "RCPT",
            "RCPT TO:<address> [parameters]",
            "names one recipient; repeat it for more",
            parse_rcpt,
            {**_HELLO_FIRST, Phase.IDLE: "send MAIL first"},
            COMMAND_LINE + sum(extension.rcpt_octets for extension in EXTENSIONS),
        ),
        Verb(
            "DATA",
            "DATA",
            "begins the message; a line with a single dot ends it",
            parse_nothing,
            {
                **_HELLO_FIRST,
                Phase.IDLE: "send MAIL first",
                Phase.SENDER: "no recipient has been accepted; send RCPT first",
            },
        ),
        Verb("RSET", "RSET", "drops the transaction", parse_nothing),
        Verb("VRFY", "VRFY name", "asks whether a name is known here", parse_string),
        Verb("HELP", "HELP [topic]", "lists the commands, or explains one", parse_anything),
        Verb("NOOP", "NOOP", "does nothing", parse_anything),
        Verb("QUIT", "QUIT", "ends the session", parse_nothing),
    )
}

MAX_LINE = max(verb.max_line for verb in VERBS.values())


def help_lines(topic: str) -> tuple[str, ...] | None:
    """What HELP answers: the list, one command or one extension; None for an unknown topic."""
    if not topic:
        return ("Commands: " + " ".join(VERBS), "HELP topic explains a command or an extension")
    name = topic.upper()
    extensions = {extension.keyword: extension.about for extension in EXTENSIONS}
    if name in VERBS:
        return (VERBS[name].syntax, VERBS[name].about)
    if name in extensions:
        return (extensions[name],)
    return None
