"""The verb table of SMTP: the legal states, the parser, the handler and the next state of each command.

Order of commands: RFC 5321 section 4.1.4. Maximum line lengths: section 4.5.3.1.4. ``session.verbs``
explains the form of a row.
"""

from collections.abc import Mapping
from functools import cache

import attrs

from mailserver.sasl.exchange import MAX_LINE as MAX_RESPONSE
from mailserver.session.verbs import Refused, Verb, never_run
from mailserver.smtp import replies
from mailserver.smtp.commands import SMTPCommands
from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.replies import Reply, reply
from mailserver.smtp.states import SMTPState
from mailserver.smtp.syntax import (
    parse_anything,
    parse_auth,
    parse_host,
    parse_mail,
    parse_node,
    parse_nodes,
    parse_nothing,
    parse_rcpt,
    parse_string,
)
from mailserver.wire.foreign import is_http
from mailserver.wire.lines import Line

COMMAND_LINE = 512
AUTH_LINE = MAX_RESPONSE


@attrs.frozen(eq=False, kw_only=True)
class SMTPVerb(Verb):
    """One command. ``about`` is the text of HELP.

    ``reasons`` has the text of the 503 for each state where the command is not legal. ``obsolete`` is the
    text of the 502 of an obsolete command. ``needs_login``: on submission the command gets a 530 until the
    client has logged in (RFC 4954 section 6). ``names_client``: the argument is the name of the client; mail
    must not be rejected because of it (RFC 5321 section 4.1.4).
    """

    about: str = ""
    reasons: Mapping[SMTPState, str] = attrs.field(factory=dict)
    obsolete: str = ""
    needs_login: bool = False
    names_client: bool = False

    def wrong_state(self, state: SMTPState) -> Reply:
        return reply(503, "5.5.1", self.reasons[state])


# The states in which commands are read.
_CONNECTED, _IDLE, _SENDER, _RECIPIENTS = (
    SMTPState.CONNECTED,
    SMTPState.IDLE,
    SMTPState.SENDER,
    SMTPState.RECIPIENTS,
)
_STAYS = {state: state for state in (_CONNECTED, _IDLE, _SENDER, _RECIPIENTS)}
_IS_IDLE = dict.fromkeys(_STAYS, _IDLE)

_HELLO_FIRST = {_CONNECTED: "send EHLO or HELO first"}
_MAIL_FIRST = {**_HELLO_FIRST, _IDLE: "send MAIL first"}
_IN_TRANSACTION = dict.fromkeys((_SENDER, _RECIPIENTS), "a transaction is open; RSET ends it")
_TO_TERMINALS = "sending to terminals is obsolete (RFC 5321 appendix F.6); use MAIL"

# Not a command: the text after DATA, up to the final dot.
END_OF_TEXT = SMTPVerb(
    ".",
    {SMTPState.TEXT: _IDLE},
    never_run,
    never_run,
    answered=SMTPCommands.message_judged,
    reads=SMTPCommands.read_text,
)

# Not a command: the session after ATRN, in which this side sends the commands.
REVERSED_SESSION = SMTPVerb(" ", {}, never_run, never_run, reads=SMTPCommands.read_nothing)


def _obsolete(syntax: str, about: str, why: str) -> SMTPVerb:
    barred = reply(502, "5.5.1", why)
    return SMTPVerb(syntax, {}, parse_anything, never_run, barred=barred, about=about, obsolete=why)


VERBS: dict[str, SMTPVerb] = {
    verb.name: verb
    for verb in (
        SMTPVerb(
            "HELO host",
            _IS_IDLE,
            parse_host,
            SMTPCommands.helo,
            about="identifies the client and begins a session",
            names_client=True,
        ),
        SMTPVerb(
            "EHLO host",
            _IS_IDLE,
            parse_host,
            SMTPCommands.ehlo,
            about="identifies the client, begins a session and lists the extensions",
            names_client=True,
        ),
        SMTPVerb(
            "STARTTLS",
            dict.fromkeys((_CONNECTED, _IDLE), _CONNECTED),
            parse_nothing,
            SMTPCommands.starttls,
            answered=SMTPCommands.tls_begun,
            about="begins TLS; the session starts again",
            reasons=_IN_TRANSACTION,
        ),
        SMTPVerb(
            "AUTH mechanism [initial response]",
            {_IDLE: _IDLE},
            parse_auth,
            SMTPCommands.auth,
            answered=SMTPCommands._login_answered,
            reads=SMTPCommands._read_response,
            max_line=AUTH_LINE,
            about="logs in",
            reasons={**_HELLO_FIRST, **_IN_TRANSACTION},
        ),
        SMTPVerb(
            "MAIL FROM:<address> [parameters]",
            {_IDLE: _SENDER},
            parse_mail,
            SMTPCommands.mail,
            answered=SMTPCommands.sender_judged,
            max_line=COMMAND_LINE + sum(extension.mail_octets for extension in EXTENSIONS),
            about="begins a transaction with the reverse-path; <> is the null reverse-path",
            reasons={
                **_HELLO_FIRST,
                **dict.fromkeys(_IN_TRANSACTION, "a transaction is already open; RSET ends it"),
            },
            needs_login=True,
        ),
        SMTPVerb(
            "RCPT TO:<address> [parameters]",
            dict.fromkeys((_SENDER, _RECIPIENTS), _RECIPIENTS),
            parse_rcpt,
            SMTPCommands.rcpt,
            answered=SMTPCommands.recipient_judged,
            max_line=COMMAND_LINE + sum(extension.rcpt_octets for extension in EXTENSIONS),
            about="adds a recipient; send one command for each",
            reasons=_MAIL_FIRST,
            needs_login=True,
        ),
        SMTPVerb(
            "DATA",
            {_RECIPIENTS: SMTPState.TEXT},
            parse_nothing,
            SMTPCommands.data,
            followed_by=END_OF_TEXT,
            about="begins the message; a line with a single dot ends it",
            reasons={**_MAIL_FIRST, _SENDER: "no recipient has been accepted; send RCPT first"},
            needs_login=True,
        ),
        SMTPVerb(
            "RSET",
            {**_IS_IDLE, _CONNECTED: _CONNECTED},
            parse_nothing,
            SMTPCommands.rset,
            about="ends the transaction without sending the message",
        ),
        SMTPVerb(
            "VRFY name [SMTPUTF8]",
            _STAYS,
            parse_string,
            SMTPCommands.vrfy,
            answered=SMTPCommands.name_judged,
            about="asks whether an address exists",
            needs_login=True,
        ),
        SMTPVerb(
            "EXPN name [SMTPUTF8]",
            _STAYS,
            parse_string,
            SMTPCommands.expn,
            answered=SMTPCommands.name_judged,
            about="asks for the members of a mailing list",
            needs_login=True,
        ),
        SMTPVerb(
            "ETRN domain",
            {_IDLE: _IDLE},
            parse_node,
            SMTPCommands.etrn,
            answered=SMTPCommands.queue_started,
            about="starts the delivery of the messages that wait for a domain",
            reasons={**_HELLO_FIRST, **_IN_TRANSACTION},
            needs_login=True,
        ),
        SMTPVerb(
            "ATRN [domain,domain]",
            {_IDLE: SMTPState.REVERSED},
            parse_nodes,
            SMTPCommands.atrn,
            answered=SMTPCommands.fetch_judged,
            followed_by=REVERSED_SESSION,
            about="reverses the connection, to fetch the mail that waits for domains of the account",
            reasons={**_HELLO_FIRST, **_IN_TRANSACTION},
            needs_login=True,
        ),
        SMTPVerb(
            "HELP [topic]",
            _STAYS,
            parse_anything,
            lambda session, topic: _help(topic),
            about="lists the commands, or explains one",
        ),
        SMTPVerb("NOOP", _STAYS, parse_anything, SMTPCommands.noop, about="does nothing"),
        SMTPVerb(
            "QUIT",
            dict.fromkeys(_STAYS, SMTPState.CLOSED),
            parse_nothing,
            SMTPCommands.quit,
            about="ends the session",
        ),
        _obsolete(
            "TURN",
            "turned the connection round",
            "TURN is unsafe: it has no authentication (RFC 5321 appendix F.1)",
        ),
        _obsolete("SEND FROM:<address>", "wrote to a terminal", _TO_TERMINALS),
        _obsolete("SOML FROM:<address>", "wrote to a terminal or a mailbox", _TO_TERMINALS),
        _obsolete("SAML FROM:<address>", "wrote to a terminal and a mailbox", _TO_TERMINALS),
    )
}


@cache
def table(before_login: bool, unnamed: bool) -> Mapping[bytes, SMTPVerb]:
    """The table for a session.

    ``before_login``: the listener is for submission, and the client has not logged in. ``unnamed``: the
    client has sent HELO or EHLO, perhaps with a name that was rejected; all commands of an idle session are
    legal.
    """
    rows = {}
    for name, verb in VERBS.items():
        if before_login and verb.needs_login:
            verb = attrs.evolve(verb, barred=replies.LOGIN_NEEDED)
        if unnamed and _CONNECTED in verb.reasons:
            then, reasons = dict(verb.then), dict(verb.reasons)
            del reasons[_CONNECTED]
            if _IDLE in then:
                then[_CONNECTED] = then[_IDLE]
            else:
                reasons[_CONNECTED] = reasons[_IDLE]
            verb = attrs.evolve(verb, then=then, reasons=reasons)
        rows[name.encode()] = verb
    return rows


# Extensions that people ask for and this server does not have.
NOT_HERE = {
    "CHUNKING": "sends a message in chunks (RFC 3030)",
}


def read_command(line: bytes | Line, verbs: Mapping[bytes, SMTPVerb]) -> tuple[SMTPVerb, bytes]:
    """The verb of a command line, looked up in ``verbs``, and its unparsed argument.

    Raises :class:`~mailserver.session.verbs.Refused`.
    """
    if isinstance(line, Line):
        bare = line is Line.BARE_NEWLINE
        raise Refused(replies.BARE_NEWLINE_IN_COMMAND if bare else replies.LINE_TOO_LONG)
    # Trailing white space is accepted (RFC 5321 section 4.1.1).
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
    """The lines of HELP: all commands, one command or one extension; None for an unknown topic."""
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
        return (f"{name} {NOT_HERE[name]}; not supported by this server",)
    return None


def _help(topic: str) -> bytes:
    lines = help_lines(topic)
    if lines is None:
        raise Refused(reply(504, "5.5.4", "no help on this topic; HELP without an argument lists the topics"))
    return reply(214, "2.0.0", *lines).octets
