"""Replies: their form, and the ones with a fixed text.

Form: RFC 5321 section 4.2; enhanced status codes: RFC 2034 and RFC 3463. The text is for people,
the codes for programs.

    Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
"""

import re
from functools import lru_cache

import attrs

from mailserver.mail.xtext import visible
from mailserver.session.verbs import Refused

MAX_TEXT = 480  # octets: keeps a reply line within the 512 of RFC 5321 section 4.5.3.1.5

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


# Errors of the client: syntax, order, unknown commands.
_WRONG = frozenset({500, 501, 502, 503, 504, 555})


@attrs.frozen
class Reply:
    """One reply. ``enhanced`` is empty where RFC 2034 has none: 220, the 250 of EHLO, 354.

    ``rule`` is the configuration key that decided on a rejection, "" for none; it is not sent.
    ``last``: the reply ends the session. ``utf8``: it may have UTF-8 (RFC 6531 section 3.7.4).
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]
    rule: str = attrs.field(default="", eq=False)
    last: bool = attrs.field(default=False, eq=False)
    utf8: bool = attrs.field(default=False, eq=False)
    octets: bytes = attrs.field(init=False, eq=False, repr=False)
    """The encoded reply."""

    @octets.default
    def _encode(self) -> bytes:
        prefix = f"{self.enhanced} " if self.enhanced else ""
        *before, last = [prefix + self._clean(line) for line in self.lines]
        text = "".join([f"{self.code}-{line}\r\n" for line in before])
        return f"{text}{self.code} {last}\r\n".encode()

    def _clean(self, line: str) -> str:
        if len(line) <= MAX_TEXT and line.isascii() and line.isprintable():
            return line
        if not self.utf8 or line.isascii():
            return _UNPRINTABLE.sub("?", line)[:MAX_TEXT]
        return visible(line).encode()[:MAX_TEXT].decode(errors="ignore")

    @property
    def reason(self) -> str:
        """The first line."""
        return self.lines[0]

    @property
    def wrong(self) -> bool:
        """Whether it counts as an error of the client."""
        return self.code in _WRONG


def reply(
    code: int, enhanced: str, *lines: str, rule: str = "", last: bool = False, utf8: bool = False
) -> Reply:
    """Short for :class:`Reply`."""
    return Reply(code, enhanced, lines, rule, last, utf8)


def syntax_error(text: str) -> Refused:
    """A 501 for an argument that does not follow its grammar."""
    return Refused(reply(501, "5.5.4", text))


@lru_cache(maxsize=8)
def greeting(hostname: str, protocol: str = "ESMTP") -> Reply:
    """The first line of a session."""
    return reply(220, "", f"{hostname} {protocol} mailserver ready")


@lru_cache(maxsize=8)
def farewell(hostname: str) -> Reply:
    """The reply to QUIT."""
    return reply(221, "2.0.0", f"{hostname} closing the connection")


SENDER_OK = reply(250, "2.1.0", "Ok")
RECIPIENT_OK = reply(250, "2.1.5", "Ok")
OK = reply(250, "2.0.0", "Ok")
START_TEXT = reply(354, "", "End data with <CR><LF>.<CR><LF>")
START_TLS = reply(220, "2.0.0", "begin TLS")
NO_TLS = reply(502, "5.5.1", "TLS is not available")
TLS_ALREADY = reply(503, "5.5.1", "TLS is already active")
NO_AUTH = reply(502, "5.5.1", "authentication is not available")
NEEDS_TLS = reply(538, "5.7.11", "authentication requires TLS", rule="smtp.plaintext_auth")
LOGGED_IN_ALREADY = reply(503, "5.5.1", "already authenticated")
SERVER_FIRST = reply(501, "5.7.0", "this mechanism has no initial response; send AUTH without one")
LOGIN_OK = reply(235, "2.7.0", "authentication successful")
LOGIN_NEEDED = reply(530, "5.7.0", "authentication required; send AUTH first", rule="submission")
LMTP_LOGIN_NEEDED = reply(530, "5.7.0", "authentication required; send AUTH first", rule="relay.networks")
TOO_MANY_LOGINS = reply(
    421, "4.7.0", "too many failed logins; closing the connection", rule="limits.auth_failures", last=True
)
HTTP = reply(500, "5.5.2", "this is an SMTP server, not a web server; closing the connection", last=True)
UNKNOWN_COMMAND = reply(500, "5.5.2", "command not recognized; HELP lists the commands")
LINE_TOO_LONG = reply(500, "5.5.2", "the command line is too long")
TOO_MANY_RECIPIENTS = reply(
    452,
    "4.5.3",
    "too many recipients in one transaction; send the others in another one",
    rule="smtp.max_recipients",
)
BAD_CHUNK_SIZE = reply(501, "5.5.4", "BDAT has a number of octets; closing the connection", last=True)
BAD_END_MARKER = reply(501, "5.5.4", "BDAT has a number of octets, and perhaps LAST")
NEEDS_CHUNKS = reply(503, "5.5.1", "BODY=BINARYMIME needs BDAT (RFC 3030 section 3)")
NO_HELP = reply(504, "5.5.4", "no help on this topic; HELP without an argument lists the topics")
LOOP = reply(554, "5.4.6", "too many hops; possible mail loop", rule="smtp.hop_limit")
BARE_NEWLINE = reply(
    550,
    "5.6.0",
    "the message has a bare CR or LF; lines must end with CR LF (RFC 5321 section 2.3.8)",
    rule="smtp.bare_newline",
)
BARE_NEWLINE_IN_COMMAND = reply(
    500,
    "5.5.2",
    "the command has a bare CR or LF; lines must end with CR LF (RFC 5321 section 2.3.8)",
    rule="smtp.bare_newline",
)
NO_QUEUE_STARTS = reply(502, "5.5.1", "ETRN is not available: this server keeps no mail for other domains")
NO_FETCHES = reply(502, "5.5.1", "ATRN is not available: no server fetches its mail from here")
FETCH_NEEDS_LOGIN = reply(530, "5.7.0", "authentication required; send AUTH first", rule="relay.atrn")
CANNOT_VERIFY = reply(
    252, "2.5.2", "cannot verify the address, but will accept a message and attempt delivery"
)
SENDER_OUTSIDE_ASCII = reply(550, "5.6.7", "addresses outside ASCII need the parameter SMTPUTF8 of MAIL")
RECIPIENT_OUTSIDE_ASCII = reply(553, "5.6.7", "addresses outside ASCII need the parameter SMTPUTF8 of MAIL")
NOT_IN_ASCII = reply(252, "2.6.8", "the reply has an address outside ASCII; ask again with SMTPUTF8")
MOVED_OUTSIDE_ASCII = reply(550, "5.6.8", "user not local; the new address is outside ASCII (SMTPUTF8)")
NOT_TRUSTED = reply(550, "5.7.0", "this client may not name another client")
TOO_MANY_MESSAGES = reply(
    421,
    "4.7.0",
    "too many messages in one session; closing the connection",
    rule="smtp.max_messages",
    last=True,
)
TOO_MANY_DOMAINS = reply(
    452,
    "4.5.3",
    "too many domains of recipients in one session; send the others in another one",
    rule="smtp.max_recipient_domains",
)
TOO_MANY_ERRORS = reply(
    421, "4.7.0", "too many errors; closing the connection", rule="smtp.max_errors", last=True
)


def solicitation(classes: str) -> Reply:
    """The message is a solicitation of these classes (RFC 3865 section 2.3)."""
    return reply(550, "5.7.1", f"SOLICIT={classes}", rule="smtp.no_soliciting")


def too_big(limit: int) -> Reply:
    """The message exceeds ``limit`` octets (RFC 1870)."""
    text = f"the message exceeds the limit of {limit} octets"
    return reply(552, "5.3.4", text, rule="smtp.max_message_size")


def line_too_long(limit: int) -> Reply:
    """A line of the message exceeds ``limit`` octets, CRLF included."""
    text = f"a line of the message exceeds the limit of {limit} octets"
    return reply(500, "5.5.2", text, rule="smtp.max_line_length")
