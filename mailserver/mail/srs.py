"""The Sender Rewriting Scheme (SRS): reverse-paths for forwarded mail that pass SPF at the next server.

    SRS0 "=" hash "=" day "=" domain "=" local-part "@" us        of mail from local-part@domain
    SRS1 "=" hash "=" domain "=" rest "@" us                      of mail from SRS0 rest@domain

A bounce to such an address goes to the original sender, or to the server that rewrote the address first. The
hash is a part of an HMAC over the rest, so nobody else can make addresses that this server takes mail for. An
address is valid for some days; SRS1 has no day, because the first server checks its own.

The form is that of the SRS guide and of libsrs2, so the addresses of postsrsd with the same key are valid
here. Other servers may change the case of a local part; therefore the hash ignores it.
"""

import base64
import hmac
import re

import attrs

from mailserver.errors import AddressError, MailserverError
from mailserver.mail.address import MAX_LOCAL_PART, Address, parse_domain

DAYS = 21  # validity of an address
_HASH = 4  # characters
_DAY = 86400  # seconds
_CYCLE = 1024  # days that two characters can number
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_REWRITTEN = re.compile(r"SRS([01])[=+-]", re.IGNORECASE)
_SRS0 = re.compile(r"SRS0[=+-]([^=]*)=([A-Z2-7]{2})=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
_SRS1 = re.compile(r"SRS1[=+-]([^=]*)=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)


class SRSInvalid(MailserverError):
    """An address of this form that this server has not made, or that has expired."""


@attrs.frozen
class SRS:
    """Rewrites reverse-paths to addresses in ``domain``, and back.

    The first of ``keys``, of which there is at least one, makes addresses; all of them verify. ``local`` has
    the domains whose senders are not rewritten. With ``rewrites`` false, no sender is rewritten, but the
    addresses made before stay valid. Times are seconds since the epoch.
    """

    domain: str
    keys: tuple[bytes, ...] = attrs.field(repr=False)
    local: frozenset[str] = frozenset()
    days: int = DAYS
    rewrites: bool = True

    def rewritten(self, sender: Address, now: float) -> Address:
        """The reverse-path of a forwarded message from ``sender``.

        It is ``sender`` itself if that is local, or too long for an address of this form.
        """
        if not self.rewrites or self._is_local(sender.domain):
            return sender
        signed: tuple[str, ...]
        if match := _SRS1.fullmatch(sender.local):
            signed, form = (match[2], match[3]), "SRS1"
        elif (match := _REWRITTEN.match(sender.local)) and match[1] == "0":
            signed, form = (sender.domain, sender.local[4:]), "SRS1"
        else:
            signed, form = (_stamp(now), sender.domain, sender.local), "SRS0"
        local = "=".join([form, _hash(self.keys[0], signed), *signed])
        return sender if len(local.encode()) > MAX_LOCAL_PART else Address(local, self.domain)

    def is_rewritten(self, address: Address) -> bool:
        """Whether ``address`` has the form of an address that this server makes, or has made for another one
        of its domains."""
        return self._is_local(address.domain) and _REWRITTEN.match(address.local) is not None

    def original(self, address: Address, now: float) -> Address:
        """The address that ``address`` was made of. Raises :class:`SRSInvalid`."""
        if match := _SRS0.fullmatch(address.local):
            self._verify(match[1], (match[2], match[3], match[4]))
            age = (int(now) // _DAY - _day(match[2])) % _CYCLE
            # A day that has not begun yet is that of another machine, whose clock is ahead.
            if age > self.days and age != _CYCLE - 1:
                raise SRSInvalid(f"this return address has expired; it was valid for {self.days} days")
            return _address(match[4], match[3])
        if match := _SRS1.fullmatch(address.local):
            self._verify(match[1], (match[2], match[3]))
            return _address(f"SRS0{match[3]}", match[2])
        raise SRSInvalid("this return address is malformed or cut off")

    def _is_local(self, domain: str) -> bool:
        return domain == self.domain or domain in self.local

    def _verify(self, given: str, signed: tuple[str, ...]) -> None:
        octets = given.lower().encode()
        valid = [hmac.compare_digest(octets, _hash(key, signed).lower().encode()) for key in self.keys]
        if not any(valid):
            raise SRSInvalid("this server did not make this return address; it was forged or changed")


def _hash(key: bytes, signed: tuple[str, ...]) -> str:
    # SHA-1 is what the other implementations use; it is still safe in an HMAC.
    digest = hmac.digest(key, "".join(signed).encode().lower(), "sha1")
    return base64.b64encode(digest).decode("ascii")[:_HASH]


def _stamp(now: float) -> str:
    day = int(now) // _DAY % _CYCLE
    return _BASE32[day >> 5] + _BASE32[day & 31]


def _day(stamp: str) -> int:
    high, low = map(_BASE32.index, stamp.upper())
    return high << 5 | low


def _address(local: str, domain: str) -> Address:
    try:
        return Address(local, parse_domain(domain))
    except AddressError as error:
        raise SRSInvalid(str(error)) from None
