"""The extensions that a server offers in its reply to EHLO or LHLO (RFC 5321 section 4.1.1.1).

ehlo-line    = ehlo-keyword *( SP ehlo-param )
"""

import re

import attrs

from mailserver.smtp.sender.replies import ServerReply

_NUMBER = re.compile(r"[0-9]{1,20}")
# limit-name-value = limit-name ["=" limit-value]    ; RFC 9422 section 2
_LIMIT = re.compile(r"([A-Za-z]+)=([1-9][0-9]{0,5})")


@attrs.frozen(kw_only=True)
class ServerExtensions:
    """The extensions that a session can use.

    ``size`` is the maximum octets of a message (RFC 1870), 0 for no fixed limit, None without SIZE. ``auth``
    has the mechanisms. ``shortest_deadline``: the server offers DELIVERBY, and this is the least number of
    seconds of a BY with the mode R (RFC 2852). ``max_recipients`` and ``max_mails`` are RCPTMAX and MAILMAX
    of LIMITS (RFC 9422), None for no known limit.
    """

    pipelining: bool = False
    size: int | None = None
    eight_bit: bool = False
    utf8: bool = False
    chunking: bool = False
    binary: bool = False
    dsn: bool = False
    start_tls: bool = False
    require_tls: bool = False
    priority: bool = False
    shortest_deadline: int | None = None
    auth: tuple[str, ...] = ()
    max_recipients: int | None = None
    max_mails: int | None = None

    @property
    def takes_chunks(self) -> bool:
        """Whether content is sent by BDAT. Without PIPELINING each chunk would cost a round trip, and DATA
        costs one for all of them."""
        return self.chunking and self.pipelining

    @property
    def takes_binary(self) -> bool:
        """Whether BODY=BINARYMIME can be used."""
        return self.binary and self.takes_chunks


NO_EXTENSIONS = ServerExtensions()
"""The extensions of a server that knows only HELO."""


def read_extensions(reply: ServerReply) -> ServerExtensions:
    """The extensions in a reply. What is unknown or malformed in it is ignored."""
    offered: dict[str, list[str]] = {}
    for line in reply.lines[1:]:
        # Some servers also list their mechanisms in the form of an early draft: AUTH=LOGIN
        keyword, *values = line.replace("AUTH=", "AUTH ", 1).split() or [""]
        offered.setdefault(keyword.upper(), []).extend(values)
    size = offered.get("SIZE")
    limits = {
        match[1].upper(): int(match[2]) for match in map(_LIMIT.fullmatch, offered.get("LIMITS", ())) if match
    }
    return ServerExtensions(
        pipelining="PIPELINING" in offered,
        size=None if size is None else int(size[0]) if size and _NUMBER.fullmatch(size[0]) else 0,
        eight_bit="8BITMIME" in offered,
        utf8="SMTPUTF8" in offered,
        chunking="CHUNKING" in offered,
        binary="BINARYMIME" in offered,
        dsn="DSN" in offered,
        start_tls="STARTTLS" in offered,
        require_tls="REQUIRETLS" in offered,
        priority="MT-PRIORITY" in offered,
        shortest_deadline=_shortest_deadline(offered.get("DELIVERBY")),
        auth=tuple(dict.fromkeys(name.upper() for name in offered.get("AUTH", ()))),
        max_recipients=limits.get("RCPTMAX"),
        max_mails=limits.get("MAILMAX"),
    )


def _shortest_deadline(values: list[str] | None) -> int | None:
    if values is None:
        return None
    first = values[0].partition(",")[0] if values else ""
    return int(first) if _NUMBER.fullmatch(first) else 0
