"""Completes the header of a submitted message while it arrives (RFC 6409 section 8).

This is for submission only; other mail is not changed (RFC 5321 section 6.4). It makes the smallest change
that gives a valid message:

    8.2 Date, 8.3 Message-ID   added if they are missing. Existing fields stay, even if they are malformed,
                               because the sender's own copy and replies refer to them.
    blank line                 added if text follows the header, or there is no header, without one.
    mbox lines                 "From " or ">From " before the header becomes a field, X-Mailbox-Line, as in
                               Postfix. Otherwise the whole header would be text.
    Bcc, Resent-Bcc            removed on request: the first of the three ways of RFC 5322 section 3.6.3. Not
                               by default, because a client may send the Bcc recipients their own copy with
                               the field.

Other changes are not made, for these reasons:

    From                       neither section 8 nor RFC 5321 section 6.4 lets a server name the author. Only
                               a local program may leave it to the server (``author``), as with sendmail.
    8.1 Sender                 the reverse-path decides who may send as whom; the name of the account stays
                               private.
    Resent-*                   informational only; there may be several sets, and the newest has passed when
                               its end is seen. They do not replace Date and Message-ID, which each message
                               must have (RFC 5322 section 3.6).
    8.4 transfer encoding      everything here accepts 8-bit text, and signatures cover the octets.
    8.5, 8.6 sign, encrypt     they concern more than the header.
    8.7, 8.8 rewrite addresses aliases do not need it, and each rewritten address may break.

:mod:`~mailserver.mail.filtering` makes the changes of the header that all messages need.
"""

import re

from mailserver.mail.filtering import ALWAYS_UNWANTED, HeadFilter
from mailserver.mail.trace import date_time

_BLIND = ALWAYS_UNWANTED | {b"bcc", b"resent-bcc"}
_MBOX_LINE = re.compile(rb">{0,9}From ")


class HeadCompleter(HeadFilter):
    """Completes the header of a message that arrives in pieces."""

    __slots__ = ("_missing",)

    def __init__(
        self, *, hostname: str, id: str, when: float, remove_bcc: bool = False, author: str = ""
    ) -> None:
        """``id`` at ``hostname`` becomes the Message-ID, ``when`` (seconds since the epoch) the Date, in
        the local time zone. ``author`` becomes the From field, if it is not empty."""
        super().__init__(_BLIND if remove_bcc else ALWAYS_UNWANTED)
        self._missing = {b"from": f"From: {author}\r\n".encode()} if author else {}
        self._missing |= {
            b"date": f"Date: {date_time(int(when))}\r\n".encode(),
            b"message-id": f"Message-ID: <{id}@{hostname}>\r\n".encode(),
        }

    def is_fine(self, data: bytes) -> bool:
        """See the base class."""
        return False

    def watched(self) -> frozenset[bytes]:
        """See the base class."""
        return frozenset(self._missing)

    def field(self, name: bytes) -> None:
        """See the base class."""
        self._missing.pop(name, None)

    def mailbox_line(self, data: bytes, at: int) -> bool:
        """See the base class."""
        return not self._named and _MBOX_LINE.match(data, at) is not None

    def end(self, rest: bytes) -> bytes:
        """See the base class."""
        blank = b"" if not rest or rest.startswith(b"\r\n") else b"\r\n"
        return b"".join(self._missing.values()) + blank
