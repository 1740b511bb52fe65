"""The message of a daily report to another domain: a text for people, and a file compressed with gzip.

RFC 8460 section 5.3 (TLS) and RFC 9990 (DMARC, "Email") describe such messages.
"""

import gzip
from base64 import encodebytes
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import unquote

import attrs

from mailserver.errors import AddressError
from mailserver.mail.address import Address

DAY = 86400  # seconds


def mailto_address(uri: str) -> Address | None:
    """The address of a mailto URI (RFC 6068). None if it has none, or is a URI of another kind."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        return None
    try:
        return Address.parse(unquote(rest.partition("?")[0]))
    except AddressError:
        return None


@attrs.frozen(kw_only=True)
class DailyReport:
    """A report of ``hostname`` about one ``day`` (days since the epoch) and the mail of ``domain``.

    ``id`` is unique among all messages. ``contact`` is the address of the author. ``report_id`` is the text
    between the angle brackets in Subject.
    """

    id: str
    hostname: str
    contact: str
    domain: str
    day: int
    report_id: str

    @property
    def begin(self) -> int:
        """The first second of the day, since the epoch."""
        return self.day * DAY

    @property
    def end(self) -> int:
        """The last second of the day."""
        return self.day * DAY + DAY - 1

    def message(
        self,
        to: Sequence[Address],
        now: float,
        *,
        fields: Sequence[str],
        content_type: str,
        text: Sequence[str],
        file_type: str,
        extension: str,
        content: bytes,
    ) -> bytes:
        """The message to these addresses. ``now`` is in seconds since the epoch.

        ``fields`` are more header fields. ``content_type`` is that of the whole, without the boundary.
        ``text`` has the lines for people. ``content`` becomes the file, whose name ends with ``extension``.
        """
        boundary = f"=_{self.id}"
        lines = [
            f"From: Mail Delivery System <{self.contact}>",
            f"To: {', '.join(map(str, to))}",
            f"Subject: Report Domain: {self.domain} Submitter: {self.hostname}",
            f" Report-ID: <{self.report_id}>",
            f"Date: {formatdate(now, localtime=True)}",
            f"Message-ID: <{self.id}@{self.hostname}>",
            *fields,
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            f'Content-Type: {content_type}; boundary="{boundary}"',
            "",
            f"--{boundary}",
            "Content-Type: text/plain; charset=us-ascii",
            "",
            f"This is the mail system at {self.hostname}.",
            "",
            *text,
            "",
            f"--{boundary}",
            f"Content-Type: {file_type}",
            "Content-Transfer-Encoding: base64",
            "Content-Disposition: attachment;",
            f' filename="{self.hostname}!{self.domain}!{self.begin}!{self.end}!{self.id}.{extension}"',
            "",
        ]
        packed = encodebytes(gzip.compress(content, mtime=0))
        end_line = f"--{boundary}--\r\n"
        return "\r\n".join([*lines, ""]).encode() + packed.replace(b"\n", b"\r\n") + end_line.encode()


def utc_text(seconds: float) -> str:
    """The time as RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
