"""The verb table of SMTP: the legal states, the parser, the handler and the next state of each command.

Order of commands: RFC 5321 section 4.1.4. Maximum line lengths: section 4.5.3.1.4. ``session.verbs``
explains the form of a row.
"""

from collections.abc import Mapping

import attrs

from mailserver.sasl.exchange import MAX_LINE as MAX_RESPONSE
from mailserver.session.verbs import Verb, never_run
from mailserver.smtp.commands import SMTPCommands
from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.naming import parse_xclient, parse_xforward
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

COMMAND_LINE = 512
AUTH_LINE = MAX_RESPONSE


@attrs.frozen(eq=False, kw_only=True)
class SMTPVerb(Verb):
    """One command. ``about`` is the text of HELP.

    ``reasons`` has the text of the 503 for each state where the command is not legal. ``needs_login``: where
    mail needs a login, the command gets a 530 until the client has logged in (RFC 4954 section 6).
    ``names_client``: the argument is the name of the client; mail must not be rejected because of it (RFC
    5321 section 4.1.4). ``last`` is the row of BDAT with the word LAST, which ends the transaction.
    """

    about: str = ""
    reasons: Mapping[SMTPState, str] = attrs.field(factory=dict)
    needs_login: bool = False
    names_client: bool = False
    last: "SMTPVerb | None" = None

    def wrong_state(self, state: SMTPState) -> Reply:
        return reply(503, "5.5.1", self.reasons[state])


# The states in which commands are read.
_CONNECTED, _IDLE, _SENDER, _RECIPIENTS, _CHUNKS = (
    SMTPState.CONNECTED,
    SMTPState.IDLE,
    SMTPState.SENDER,
    SMTPState.RECIPIENTS,
    SMTPState.CHUNKS,
)
_STAYS = {state: state for state in (_CONNECTED, _IDLE, _SENDER, _RECIPIENTS, _CHUNKS)}
_IS_IDLE = dict.fromkeys(_STAYS, _IDLE)

_HELLO_FIRST = {_CONNECTED: "send EHLO or HELO first"}
_MAIL_FIRST = {**_HELLO_FIRST, _IDLE: "send MAIL first"}
_NO_RECIPIENT = {**_MAIL_FIRST, _SENDER: "no recipient has been accepted; send RCPT first"}
_IN_CHUNKS = {_CHUNKS: "the message is arriving in chunks; send BDAT, or RSET to end it"}
_IN_TRANSACTION = dict.fromkeys((_SENDER, _RECIPIENTS, _CHUNKS), "a transaction is open; RSET ends it")
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

# BDAT with LAST.
LAST_CHUNK = SMTPVerb(
    "BDAT octets LAST",
    dict.fromkeys((_RECIPIENTS, _CHUNKS), _IDLE),
    parse_nothing,
    SMTPCommands.bdat,
    answered=SMTPCommands.message_judged,
    reads=SMTPCommands.read_last_chunk,
    reasons=_NO_RECIPIENT,
    needs_login=True,
)

# Not a command: the octets of a BDAT that is rejected.
REJECTED_CHUNK = SMTPVerb(" ", _STAYS, never_run, never_run, reads=SMTPCommands.skip_chunk)

# Not a command: the session after ATRN, in which this side sends the commands.
REVERSED_SESSION = SMTPVerb(" ", {}, never_run, never_run, reads=SMTPCommands.read_nothing)


def _obsolete(syntax: str, about: str, why: str) -> SMTPVerb:
    barred = reply(502, "5.5.1", why)
    return SMTPVerb(syntax, {}, parse_anything, never_run, barred=barred, about=about)


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
            reasons={**_MAIL_FIRST, **_IN_CHUNKS},
            needs_login=True,
        ),
        SMTPVerb(
            "DATA",
            {_RECIPIENTS: SMTPState.TEXT},
            parse_nothing,
            SMTPCommands.data,
            followed_by=END_OF_TEXT,
            about="begins the message; a line with a single dot ends it",
            reasons={**_NO_RECIPIENT, **_IN_CHUNKS},
            needs_login=True,
        ),
        SMTPVerb(
            "BDAT octets [LAST]",
            dict.fromkeys((_RECIPIENTS, _CHUNKS), _CHUNKS),
            parse_nothing,
            SMTPCommands.bdat,
            reads=SMTPCommands.read_chunk,
            about="brings so many octets of the message, without dots; LAST ends the message",
            reasons=_NO_RECIPIENT,
            needs_login=True,
            last=LAST_CHUNK,
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
            "XCLIENT attribute=value",
            dict.fromkeys((_CONNECTED, _IDLE), _CONNECTED),
            parse_xclient,
            SMTPCommands.xclient,
            answered=SMTPCommands.client_named,
            about="names the client that a trusted proxy speaks for; the session begins again",
            reasons=_IN_TRANSACTION,
        ),
        SMTPVerb(
            "XFORWARD attribute=value",
            {_CONNECTED: _CONNECTED, _IDLE: _IDLE},
            parse_xforward,
            SMTPCommands.xforward,
            about="names the client that the mail of a trusted filter came from",
            reasons=_IN_TRANSACTION,
        ),
        SMTPVerb(
            "HELP [topic]",
            _STAYS,
            parse_anything,
            SMTPCommands.help,
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

MAX_LINE = max(verb.max_line for verb in VERBS.values())
