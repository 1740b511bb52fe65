"""Finds the recipients of a message in its header, as ``sendmail -t`` does.

They are the addresses in To, Cc and Bcc. If the message is resent (RFC 5322 section 3.6.6), they are those in
Resent-To, Resent-Cc and Resent-Bcc instead.
"""

import re

from mailserver.errors import AddressError
from mailserver.mail.address_list import addresses_in

MAX_HEADER = 4 * 1024 * 1024  # octets

_USUAL = frozenset({b"to", b"cc", b"bcc"})
_RESENT = frozenset({b"resent-to", b"resent-cc", b"resent-bcc"})
# A field with its continuations, or the line that mbox files have before a message.
_FIELD = re.compile(rb"(?:>?From [^\r\n]*+|([!-9;-~]++)[ \t]*+:((?:[^\r\n]|\r\n[ \t])*+))\r\n")


class HeaderRecipients:
    """Collects the header of a message that arrives in pieces, with CRLF line ends."""

    __slots__ = ("_header", "_octets", "_tail", "_whole")

    def __init__(self) -> None:
        self._header: list[bytes] = []
        self._octets = 0
        self._tail = b"\r\n"  # the last three octets; an empty header begins with its end
        self._whole = False

    def feed(self, data: bytes) -> None:
        """Take the next octets of the message. Raises :class:`AddressError` if the header is too large."""
        if self._whole:
            return
        self._header.append(data)
        self._octets += len(data)
        data = self._tail + data
        self._tail = data[-3:]
        if b"\r\n\r\n" in data:
            self._whole = True
        elif self._octets > MAX_HEADER:
            raise AddressError(f"the header of the message has no end within {MAX_HEADER} octets")

    def addresses(self) -> list[str]:
        """The recipients in the order of the header. Raises :class:`AddressError`."""
        header = b"".join(self._header)
        found: list[tuple[bytes, str]] = []
        at = 0
        while (field := _FIELD.match(header, at)) is not None:
            at = field.end()
            name = (field[1] or b"").lower()
            if name in _USUAL or name in _RESENT:
                body = field[2].decode("utf-8", "surrogateescape")
                try:
                    found += [(name, address) for address in addresses_in(body)]
                except AddressError as error:
                    raise AddressError(f"{name.decode().title()}: {error}") from None
        resent = any(name in _RESENT for name, _ in found)
        return [address for name, address in found if (name in _RESENT) == resent]
