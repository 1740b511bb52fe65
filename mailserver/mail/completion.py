"""What a submitted message lacks in its header, added as it passes by (RFC 6409 section 8).

For submission only: mail from elsewhere goes on as it came (RFC 5321 section 6.4). Of what an MSA may
do to a message this does the least that makes it one:

    8.2 Date, 8.3 Message-ID   added where they are missing. What is there stays, even if it is malformed:
                               the sender's own copy and the replies to it name it so.
    blank line                 added where text follows the header, or stands in its place, without one.
    mbox lines                 "From " or ">From " in front of the header becomes a field, X-Mailbox-Line, as
                               Postfix does it: otherwise the whole header would be text.
    Bcc, Resent-Bcc            removed on request: the first of the three ways of RFC 5322 section 3.6.3. Not
                               by itself, since a client may send those of the Bcc a copy that has it.

And leaves the rest, for these reasons:

    From                       neither section 8 nor RFC 5321 section 6.4 lets a server say who the author is.
    8.1 Sender                 who may send as whom is settled by the reverse-path; the account's name is
                               nobody's business.
    Resent-*                   strictly informational, several sets may be there, and the newest has passed
                               when its end is seen. They do not stand for Date and Message-ID, either,
                               which the message itself must have (RFC 5322 section 3.6).
    8.4 transfer encoding      everything here takes 8-bit text, and signatures cover the octets.
    8.5, 8.6 sign, encrypt     not a matter of the header alone.
    8.7, 8.8 rewrite addresses no alias needs it, and every address that is touched may be broken.

The rest of the work on a header, for messages from anywhere, is that of :mod:`~mailserver.mail.filtering`.
"""

import re

from mailserver.mail.filtering import ALWAYS_UNWANTED, HeadFilter
from mailserver.mail.trace import date_time

_BLIND = ALWAYS_UNWANTED | {b"bcc", b"resent-bcc"}
_MBOX_LINE = re.compile(rb">{0,9}From ")


class HeadCompleter(HeadFilter):
    """Passes a message on, fed in any pieces, with its header completed."""

    __slots__ = ("_missing",)

    def __init__(self, *, hostname: str, id: str, when: float, remove_bcc: bool = False) -> None:
        """``id`` at ``hostname`` becomes the Message-ID, ``when`` (seconds since the epoch) the Date, in
        the local time zone."""
        super().__init__(_BLIND if remove_bcc else ALWAYS_UNWANTED)
        self._missing = {
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
