"""The verb table: the only authority on which command is legal when, and how it is read.

The states are those of RFC 5321 section 4.1.4; limits on line lengths are of section 4.5.3.1.4.
"""

from collections.abc import Callable, Mapping
from enum import Enum

import attrs

from mailserver.sasl.exchange import MAX_LINE as MAX_RESPONSE
from mailserver.smtp import replies
from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import Refused
from mailserver.smtp.syntax import (
    parse_anything,
    parse_auth,
    parse_host,
    parse_mail,
    parse_nothing,
    parse_rcpt,
    parse_string,
)
from mailserver.wire.foreign import is_http
from mailserver.wire.lines import Line


class Phase(Enum):
    """Where a session is."""

    CONNECTED = "no HELO or EHLO yet"
    IDLE = "between transactions"
    SENDER = "the reverse-path is known"
    RECIPIENTS = "at least one recipient is known"
    TEXT = "the message is arriving"
    CLOSED = "the session is over"


COMMAND_LINE = 512
AUTH_LINE = MAX_RESPONSE

_HELLO_FIRST = {Phase.CONNECTED: "send EHLO or HELO first"}


@attrs.frozen
class Verb:
    """One command.

    ``out_of_order`` has the phases in which the command is a 503, each with the reason; in every
    other phase that reads commands it is legal. ``obsolete`` is why a command that is known is a
    502 in every phase. ``max_line`` counts octets, CRLF included. ``needs_login`` is for submission:
    530 until somebody has logged in (RFC 4954 section 6). ``names_client``: the argument is the client's
    name; no mail is refused for that alone (RFC 5321 section 4.1.4).
    """

    name: str
    syntax: str
    about: str
    parse: Callable[[str, SMTPOptions], object]
    out_of_order: Mapping[Phase, str] = attrs.field(factory=dict)
    max_line: int = COMMAND_LINE
    obsolete: str = ""
    needs_login: bool = False
    names_client: bool = False


_IN_TRANSACTION = {
    Phase.SENDER: "a transaction is open; end it first",
    Phase.RECIPIENTS: "a transaction is open; end it first",
}
_TO_TERMINALS = "sending to terminals is obsolete (RFC 5321 appendix F.6); use MAIL"

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "HELO",
            "HELO host",
            "says who the client is and begins a session",
            parse_host,
            names_client=True,
        ),
        Verb(
            "EHLO",
            "EHLO host",
            "the same, and asks for the list of extensions",
            parse_host,
            names_client=True,
        ),
        Verb(
            "STARTTLS",
            "STARTTLS",
            "begins TLS; then everything starts anew",
            parse_nothing,
            _IN_TRANSACTION,
        ),
        Verb(
            "AUTH",
            "AUTH mechanism [initial response]",
            "logs in",
            parse_auth,
            {**_HELLO_FIRST, **_IN_TRANSACTION},
            AUTH_LINE,
        ),
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
            needs_login=True,
        ),
        Verb(
            "RCPT",
            "RCPT TO:<address> [parameters]",
            "names one recipient; repeat it for more",
            parse_rcpt,
            {**_HELLO_FIRST, Phase.IDLE: "send MAIL first"},
            COMMAND_LINE + sum(extension.rcpt_octets for extension in EXTENSIONS),
            needs_login=True,
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
            needs_login=True,
        ),
        Verb("RSET", "RSET", "drops the transaction", parse_nothing),
        Verb("VRFY", "VRFY name", "asks whether a name is known here", parse_string, needs_login=True),
        Verb("EXPN", "EXPN name", "asks for the members of a mailing list", parse_string, needs_login=True),
        Verb("HELP", "HELP [topic]", "lists the commands, or explains one", parse_anything),
        Verb("NOOP", "NOOP", "does nothing", parse_anything),
        Verb("QUIT", "QUIT", "ends the session", parse_nothing),
        Verb(
            "TURN",
            "TURN",
            "turned the connection round",
            parse_anything,
            obsolete="TURN is unsafe, as it asks for no password (RFC 5321 appendix F.1)",
        ),
        Verb("SEND", "SEND FROM:<address>", "wrote to a terminal", parse_anything, obsolete=_TO_TERMINALS),
        Verb(
            "SOML",
            "SOML FROM:<address>",
            "wrote to a terminal or a mailbox",
            parse_anything,
            obsolete=_TO_TERMINALS,
        ),
        Verb(
            "SAML",
            "SAML FROM:<address>",
            "wrote to a terminal and a mailbox",
            parse_anything,
            obsolete=_TO_TERMINALS,
        ),
    )
}

# Topics of HELP that people look for.
NOT_HERE = {
    "ATRN": "collects the mail of a domain (RFC 2645)",
    "CHUNKING": "sends a message in chunks (RFC 3030)",
    "DSN": "asks for delivery status notifications (RFC 3461)",
    "ETRN": "starts the queue for a domain (RFC 1985)",
    "SMTPUTF8": "allows addresses outside ASCII (RFC 6531)",
}


def read_command(line: bytes | Line, verbs: Mapping[bytes, Verb]) -> tuple[Verb, bytes]:
    """The verb of a command line, found by its name in ``verbs``, and its argument as it came.

    Raises :class:`~mailserver.smtp.replies.Refused`.
    """
    if isinstance(line, Line):
        bare = line is Line.BARE_NEWLINE
        raise Refused(replies.BARE_NEWLINE_IN_COMMAND if bare else replies.LINE_TOO_LONG)
    # Trailing white space is forgiven (RFC 5321 section 4.1.1).
    name, _, raw = line.rstrip(b" \t").partition(b" ")
    if b"\t" in name:
        name = name.partition(b"\t")[0]
        raw = line[len(name) :]
    verb = verbs.get(name.upper())
    if len(line) + 2 > (verb.max_line if verb else COMMAND_LINE):
        raise Refused(replies.LINE_TOO_LONG)
    if verb is None:
        raise Refused(replies.HTTP if is_http(line) else replies.UNKNOWN_COMMAND)
    return verb, raw


MAX_LINE = max(verb.max_line for verb in VERBS.values())


def help_lines(topic: str) -> tuple[str, ...] | None:
    """What HELP answers: the list, one command or one extension; None for an unknown topic."""
    if not topic:
        names = " ".join(verb.name for verb in VERBS.values() if not verb.obsolete)
        return (f"Commands: {names}", "HELP topic explains a command or an extension")
    name = topic.upper()
    extensions = {extension.keyword: extension.about for extension in EXTENSIONS}
    if name in VERBS:
        verb = VERBS[name]
        return (verb.syntax, verb.obsolete or verb.about)
    if name in extensions:
        return (extensions[name],)
    if name in NOT_HERE:
        return (f"{name} {NOT_HERE[name]}; this server does not offer it",)
    return None
