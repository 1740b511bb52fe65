"""Gives replies the look of another server: its texts, its codes, and its lists of EHLO and CAPA.

A reply keeps its meaning: the class of its code (RFC 5321 section 4.2.1), or its "+OK" or "-ERR" (RFC 1939
section 3). The content of a multi-line reply of POP3 stays as it is, except the list of CAPA. What the client
may not use now is not shown, whatever the other server shows.
"""

import re
from collections.abc import Mapping, Sequence

import attrs

from mailserver.faults.situations import BEFORE_LOGIN, situation_of

MAX_LINE = 512  # octets of a reply line with its CRLF (RFC 5321 section 4.5.3.1.5, RFC 2449 section 4)
PLACEHOLDER = re.compile(r"\{(\w+)\}")
PLACEHOLDERS = frozenset(
    {
        *("hostname", "client", "helo", "session", "date", "verb", "argument", "address"),  # of the session
        *("id", "count", "octets", "timestamp"),  # of our reply
        *("size", "limits"),  # of our reply to EHLO
    }
)

# The client may use these only at some times: our own list decides.
_GUARDED = frozenset({"STARTTLS", "STLS", "AUTH", "SASL", "USER"})
_MECHANISMS = frozenset({"AUTH", "SASL"})

_REPLY = re.compile(r"(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n")  # RFC 5321 section 4.2
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_ENHANCED = re.compile(r"^(\d{3}[ -])[245]\.\d{1,3}\.\d{1,3} ", re.M)
_RESPONSE_CODE = re.compile(r"^-ERR \[[^\]\r\n]*\] ?")
_BRACKET = re.compile(r"^(\+OK|-ERR) \[+")  # begins a response code (RFC 2449 section 8)
_ADDRESS = re.compile(r"<([^<>]*)>")


@attrs.frozen
class ReplyStyle:
    """How one server replies in one protocol, "smtp" or "pop3".

    ``replies`` has the lines of its reply for each situation, each with its code, and with placeholders such
    as ``{hostname}``. ``capabilities`` is its list of EHLO or CAPA, empty if it keeps ours;
    ``after_login`` the one after the login if that is another one. Keywords and mechanisms that are
    ``only_shown`` do not work here; those in ``before_tls`` are shown as long as the client may begin TLS.
    ``status_codes``: its other replies have enhanced status codes (RFC 2034) or response codes (RFC 2449).
    It does not know the commands in ``unknown``.
    """

    protocol: str
    replies: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    capabilities: tuple[str, ...] = ()
    after_login: tuple[str, ...] = ()
    only_shown: frozenset[str] = frozenset()
    before_tls: frozenset[str] = frozenset()
    status_codes: bool = True
    unknown: frozenset[str] = frozenset()


@attrs.frozen
class ReplyFacts:
    """What a reply may say about its session.

    ``client`` is an IP address, ``helo`` the name that the client gave, ``verb`` that of the command, without
    its secrets, ``argument`` the rest. ``session`` names the session, ``date`` is that of RFC 5322.
    """

    client: str = "127.0.0.1"
    helo: str = "localhost"
    argument: str = ""
    session: str = "1"
    date: str = "Thu, 1 Jan 1970 00:00:00 +0000"
    logged_in: bool = False
    verb: str = ""


NO_FACTS = ReplyFacts()


class Restyler:
    """Changes the replies of the sessions of one server."""

    def __init__(self, style: ReplyStyle, hostname: str) -> None:
        self._style = style
        self.keywords = frozenset(
            line.partition(" ")[0].upper() for line in (*style.capabilities, *style.after_login)
        )
        self._hostname = hostname.strip("[]") if style.protocol == "pop3" else hostname

    def __call__(self, moment: str, reply: bytes, facts: ReplyFacts = NO_FACTS) -> bytes:
        """The reply as the other server says it.

        ``moment`` is the verb, "greeting", "dot" for the reply to a message, or "auth step". ``reply`` is a
        whole one; one of POP3 may lack its end. Octets that are no reply stay as they are.
        """
        moment = moment.upper()
        text = reply.decode("utf-8", "surrogateescape")
        first, end, rest = text.partition("\r\n")
        is_smtp = self._style.protocol == "smtp"
        if not end or not (_REPLY.fullmatch(text) if is_smtp else first.startswith(("+OK", "-ERR"))):
            return reply
        situation, found = situation_of(self._style.protocol, moment, first)
        if situation in ("ehlo", "capa") and self._style.capabilities:
            changed = self._list(situation, moment, text, facts)
        elif lines := self._lines(situation, facts):
            filled = self._filled(lines, {**self._values(moment, facts), **found})
            changed = _smtp(filled) if is_smtp else filled[0] + "\r\n" + rest
        elif self._style.status_codes or situation == "ehlo":
            return reply
        else:
            changed = _ENHANCED.sub(r"\1", text) if is_smtp else _RESPONSE_CODE.sub("-ERR ", text)
        return changed.encode("utf-8", "surrogateescape")

    def refusal(self, verb: str, facts: ReplyFacts = NO_FACTS) -> bytes | None:
        """The reply to a command that the other server does not know; None if it knows it."""
        verb = verb.upper()
        if verb not in self._style.unknown:
            return None
        lines = self._filled(self._lines("unknown-command", facts), self._values(verb, facts))
        return (_smtp(lines) if self._style.protocol == "smtp" else lines[0] + "\r\n").encode()

    def _lines(self, situation: str, facts: ReplyFacts) -> tuple[str, ...]:
        replies = self._style.replies
        if not facts.logged_in and situation + BEFORE_LOGIN in replies:
            situation += BEFORE_LOGIN
        return replies.get(situation, ())

    def _values(self, verb: str, facts: ReplyFacts) -> dict[str, str]:
        address = _ADDRESS.search(facts.argument)
        return {
            **dict.fromkeys(PLACEHOLDERS, ""),
            "hostname": self._hostname,
            "client": facts.client,
            "helo": facts.helo,
            "session": facts.session,
            "date": facts.date,
            "verb": facts.verb or verb,
            "argument": facts.argument,
            "address": address[1] if address else facts.argument,
            "id": facts.session,
        }

    def _filled(self, lines: Sequence[str], values: Mapping[str, str]) -> list[str]:
        """The lines with values for their placeholders. No value can make a reply malformed."""
        filled = []
        for line in lines:
            text = PLACEHOLDER.sub(lambda place: _UNPRINTABLE.sub("?", values[place[1]]), line)
            if self._style.protocol == "pop3" and not _BRACKET.match(line):
                text = _BRACKET.sub(r"\1 ", text)
            filled.append(text[: MAX_LINE - 2])
        return filled

    # ------------------------------------------------------------ EHLO and CAPA

    def _list(self, situation: str, moment: str, text: str, facts: ReplyFacts) -> str:
        is_smtp = situation == "ehlo"
        first, *ours = text.split("\r\n")[:-1]
        if is_smtp:
            ours = [line[4:] for line in ours]
        elif ours[-1:] == ["."]:
            ours.pop()
        else:
            return text
        offered = {keyword.upper(): value for keyword, _, value in (line.partition(" ") for line in ours)}
        values = {
            **self._values(moment, facts),
            "size": offered.get("SIZE", ""),
            "limits": offered.get("LIMITS", ""),
        }
        style = self._style
        listed = style.after_login if facts.logged_in and style.after_login else style.capabilities
        shown = [line for each in listed if (line := self._shown(each, offered))]
        lines = [
            self._filled(self._lines(situation, facts) or (first,), values)[0],
            *(line.rstrip() for line in self._filled(shown, values)),
        ]
        if is_smtp:
            return _smtp([lines[0], *("250 " + line for line in lines[1:])])
        return "\r\n".join([*lines, ".", ""])

    def _shown(self, line: str, offered: Mapping[str, str]) -> str:
        """A line of the list as it is shown now, "" if it is not."""
        keyword, *words = line.split(" ")
        keyword = keyword.upper()
        if keyword in self._style.before_tls and not {"STARTTLS", "STLS"} & offered.keys():
            return ""
        if keyword in _GUARDED and keyword not in offered:
            return ""
        if keyword not in _MECHANISMS:
            return line
        usable = offered[keyword].split(" ")
        if not set(words) & set(usable):
            return ""
        shown = {*usable, *self._style.only_shown}
        return " ".join([keyword, *(word for word in words if word in shown)])


def _smtp(lines: Sequence[str]) -> str:
    """A reply of several lines. Each line begins with the code; its separator is set here."""
    *before, last = lines
    text = "".join([f"{line[:3]}-{line[4:]}\r\n" for line in before])
    return f"{text}{f'{last[:3]} {last[4:]}'.rstrip()}\r\n"
