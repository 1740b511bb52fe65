"""The author domain of a message: the domain of the addresses in From (RFC 9989 section 5.3.1)."""

import re
from functools import lru_cache

from mailserver.errors import AddressError
from mailserver.mail.address import parse_domain
from mailserver.mail.address_list import addresses_in
from mailserver.policy.dkim.head import MAX_HEAD, message_head

# Programs that take a CR or LF alone for the end of a line see a field where others see none.
_FROM = re.compile(rb"(?:\A|[\r\n])from[ \t]*:", re.IGNORECASE)
_MAX_ADDRESSES = 1000

REMEMBERED = 256  # fields
MAX_REMEMBERED = 512  # octets of each


def author_domain(head: bytes) -> str:
    """The domain in From, in A-labels.

    Raises ``ValueError`` unless ``head``, the octets of a header, has exactly one field From, and its
    addresses exactly one domain: readers could be shown an address that no check has seen (section 11.5).
    """
    parsed = message_head(head)
    if parsed.is_too_large:
        raise ValueError(f"header of more than {MAX_HEAD} octets")
    fields = parsed.named(b"from")
    if not fields:
        raise ValueError("no From field")
    if len(fields) > 1 or _has_hidden_from(head):
        raise ValueError("several From fields")
    value = fields[0].value
    return (_remembered if len(value) <= MAX_REMEMBERED else _read)(value)


def _has_hidden_from(head: bytes) -> bool:
    """Whether there is another From behind a CR or LF alone."""
    if head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n"):
        return False
    return len(_FROM.findall(head.partition(b"\r\n\r\n")[0])) != 1


def _read(value: bytes) -> str:
    """The domain of all addresses in the value of From."""
    domains = set()
    try:
        for count, address in enumerate(addresses_in(value.decode())):
            if count == _MAX_ADDRESSES:
                raise ValueError("too many addresses in From")
            _, at, domain = address.rpartition("@")
            if not at:
                raise AddressError("no domain")
            domains.add(parse_domain(domain))
    except (AddressError, UnicodeDecodeError):
        raise ValueError("malformed From field") from None
    if len(domains) != 1:
        raise ValueError("several domains in From" if domains else "no address in From")
    return domains.pop()


_remembered = lru_cache(REMEMBERED)(_read)
