"""Mail addresses: the value, its grammar, its normal form.

Implements the Mailbox grammar of RFC 5321 section 4.1.2 and the address literals of
section 4.1.3, with the characters of RFC 6531 section 3.3. Paths with their angle brackets and source routes
belong to ``smtp.syntax``. Domains outside ASCII are normalised to A-labels (RFC 5891), so that different
spellings of a domain give the same value. A local part keeps its spelling; :func:`folded` compares them.

    Mailbox        = Local-part "@" ( Domain / address-literal )
    Local-part     = Dot-string / Quoted-string
    Dot-string     = Atom *("."  Atom)
    Quoted-string  = DQUOTE *QcontentSMTP DQUOTE
    QcontentSMTP   = qtextSMTP / quoted-pairSMTP
    Domain         = sub-domain *("." sub-domain)
    sub-domain     = Let-dig [Ldh-str]
    address-literal = "[" ( IPv4 / "IPv6:" IPv6 / Standardized-tag ":" 1*dcontent ) "]"
"""

import ipaddress
import re
import unicodedata
from functools import lru_cache
from typing import Self

import attrs
import idna

from mailserver.errors import AddressError

# RFC 5321 section 4.5.3.1.1 asks for at least 64 octets; real bounce addresses are longer.
MAX_LOCAL_PART = 255
MAX_DOMAIN = 255
CACHED = 1024  # domains

# Characters outside ASCII are allowed here (RFC 6531). The session decides who may use them.
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x80-\U0010ffff"
_DOT_STRING = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
# Some large providers use such names without the required quotes.
_ANY_DOTS = re.compile(rf"[{_ATEXT}.]+")
_QUOTED_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*)"')
_QUOTED_PAIR = re.compile(r"\\(.)")
# An underscore is not allowed by the grammar, but some hosts have one and send mail.
_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_GENERAL_LITERAL = re.compile(r"([A-Za-z0-9-]*[A-Za-z0-9]):([\x21-\x5a\x5e-\x7e]+)")


@attrs.frozen(order=True, cache_hash=True)
class Address:
    """One mailbox name.

    ``local`` is the local part without quotes and backslashes, in its original case. ``domain`` consists of
    lower-case A-labels, or is a normalised address literal in brackets.
    """

    local: str
    domain: str

    @classmethod
    def parse(cls, text: str, *, any_dots: bool = False) -> Self:
        """Read a whole ``local@domain``; ``any_dots`` as for :func:`split_local_part`.

        Raises :class:`AddressError`.
        """
        local, rest = split_local_part(text, any_dots=any_dots)
        if not rest.startswith("@"):
            raise AddressError(
                "the address has no @domain" if not rest else "the local part has an invalid character"
            )
        return cls(local, parse_domain(rest[1:]))

    @property
    def key(self) -> "Address":
        """The key to find accounts and aliases: local parts on this server are compared in folded form."""
        local = folded(self.local)
        return self if local == self.local else Address(local, self.domain)

    def __str__(self) -> str:
        return f"{quote_local_part(self.local)}@{self.domain}"


def folded(text: str) -> str:
    """The same text for all spellings of a name that differ in case, or in the composition of characters.

    It is the caseless match of Unicode (section 3.13, D145) in the form NFC. Look-alikes of other scripts
    stay different.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


# The null reverse-path ``<>`` is None.
ReversePath = Address | None


def format_path(path: ReversePath) -> str:
    """The path in angle brackets, for a command or a trace field."""
    return f"<{path}>" if path is not None else "<>"


def split_local_part(text: str, *, any_dots: bool = False) -> tuple[str, str]:
    """Read the local part at the start of ``text``. Returns it without quotes, and the rest of the text.

    With ``any_dots`` dots at the ends or side by side need no quotes. Raises :class:`AddressError`.
    """
    if text.startswith('"'):
        match = _QUOTED_STRING.match(text)
        if match is None:
            raise AddressError("the quoted local part is not closed or has a bad character")
        local = _QUOTED_PAIR.sub(r"\1", match[1])
    else:
        match = (_ANY_DOTS if any_dots else _DOT_STRING).match(text)
        if match is None:
            raise AddressError("the local part is missing or starts with a bad character")
        local = match[0]
    if len(local.encode()) > MAX_LOCAL_PART:
        raise AddressError(f"the local part is longer than {MAX_LOCAL_PART} octets")
    return local, text[match.end() :]


# Not cached: hits would tell known names from others (tests/attacks/test_known_names.py).
def quote_local_part(local: str) -> str:
    """The local part in the form of the grammar, quoted only if necessary."""
    if _DOT_STRING.fullmatch(local):
        return local
    return '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'


@lru_cache(CACHED)
def parse_domain(text: str) -> str:
    """Normalise a domain or an address literal. Raises :class:`AddressError`."""
    if text.startswith("["):
        return _parse_literal(text)
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise AddressError(f"the domain is not a valid internationalised name: {error}") from None
    domain = text.lower()
    if not domain:
        raise AddressError("the domain is missing")
    if len(domain) > MAX_DOMAIN or not _DOMAIN.fullmatch(domain):
        raise AddressError("the domain is not a valid host name")
    return domain


def _parse_literal(text: str) -> str:
    if not text.endswith("]"):
        raise AddressError("the address literal is not closed")
    inner = text[1:-1]
    try:
        if inner[:5].upper() == "IPV6:":
            address = ipaddress.IPv6Address(inner[5:])
            if address.scope_id is not None:
                raise ValueError("a literal has no zone")
            return f"[IPv6:{address}]"
        if ":" not in inner:
            return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise AddressError("the address literal holds no valid IP address") from None
    match = _GENERAL_LITERAL.fullmatch(inner)
    if match is None:
        raise AddressError("the address literal is malformed")
    return f"[{match[1].lower()}:{match[2]}]"
