"""A message that the server of a test has caught: its envelope, its octets, and what a reader sees in it.

The octets are parsed when a property needs it. No property raises, whatever the octets are; :meth:`link` and
:meth:`code` raise AssertionError, so that a test fails with the reason.
"""

import re
from email.message import EmailMessage
from functools import cached_property

import attrs

from mailserver.errors import one_line
from mailserver.mail import links, mime

CODE = r"\b\d{4,8}\b"
_SHOWN = 60  # characters of a subject in one line


def quoted(text: str) -> str:
    """The text in double quotes on one line."""
    return f'"{one_line(text)}"'


@attrs.frozen(repr=False)
class CaughtMessage:
    """A message in a mailbox or in the outbox. Two objects are equal if they are the same copy of a message.

    ``sender`` and ``recipients`` are the envelope; the sender is empty for the null reverse-path (a bounce).
    ``mailbox`` is the address of the mailbox, empty for a message in the outbox. ``raw`` has CRLF as line
    ends. ``received_at`` is in seconds since the epoch. ``session`` is the SMTP session that brought the
    message, or None if the test delivered it itself.
    """

    id: str
    sender: str = attrs.field(eq=False)
    recipients: tuple[str, ...] = attrs.field(eq=False)
    mailbox: str
    raw: bytes = attrs.field(eq=False)
    received_at: float = attrs.field(eq=False)
    session: object | None = attrs.field(default=None, eq=False)

    @cached_property
    def email(self) -> EmailMessage:
        """The parsed message. Methods of malformed messages may raise exceptions of all kinds."""
        return mime.parse(self.raw)

    @property
    def subject(self) -> str:
        """The decoded subject; empty if there is none."""
        return mime.header(self.email, "Subject")

    @cached_property
    def _shown(self) -> tuple[EmailMessage, ...]:
        return tuple(part for part in mime.leaves(self.email) if mime.is_shown(part))

    def _first(self, content_type: str) -> str:
        found = (part for part in self._shown if mime.content_type(part) == content_type)
        return next(map(mime.text, found), "")

    @cached_property
    def text(self) -> str:
        """The first plain text, with LF as line ends; empty if there is none."""
        return self._first("text/plain")

    @cached_property
    def html(self) -> str:
        """The first HTML text, with LF as line ends; empty if there is none."""
        return self._first("text/html")

    @cached_property
    def visible_text(self) -> str:
        """The plain text, or if there is none what a reader of the HTML text sees."""
        return self.text if self.text.strip() else links.Page(self.html).text

    @cached_property
    def attachments(self) -> tuple[mime.Attachment, ...]:
        """All parts but the texts that are shown in place, in order; also images in HTML."""
        leaves = mime.leaves(self.email)
        return tuple(mime.attachment(part) for part in leaves if not mime.is_shown(part))

    def links(self) -> list[str]:
        """The http, https and mailto links of all texts, in order, without duplicates.

        In HTML they are the targets of links, without those that are only written in the text.
        """
        found: list[str] = []
        for part in self._shown:
            text = mime.text(part)
            found += links.Page(text).links if mime.content_type(part) == "text/html" else links.in_text(text)
        return list(dict.fromkeys(found))

    def link(self, part: str) -> str:
        """The one link that contains ``part``. Raises AssertionError if there is none or several."""
        __tracebackhide__ = True
        every = self.links()
        found = [link for link in every if part in link]
        if len(found) == 1:
            return found[0]
        if not every:
            raise AssertionError(f"no link contains {quoted(part)}, there are no links: {self.summary()}")
        number = f"{len(found)} links contain" if found else "no link contains"
        listed = "\n".join(f"  {one_line(link)}" for link in found or every)
        raise AssertionError(f"{number} {quoted(part)}; {'they' if found else 'the links'} are:\n{listed}")

    def code(self, pattern: str | re.Pattern[str] = CODE) -> str:
        """The one code in the visible text that matches ``pattern``, or its first group; links do not count.

        Raises AssertionError if there is none, or if several differ.
        """
        __tracebackhide__ = True
        text = links.without_links(self.visible_text)
        matches = re.finditer(pattern, text)
        found = dict.fromkeys(str(match[1 if match.re.groups else 0]) for match in matches)
        if len(found) == 1:
            return next(iter(found))
        listed = f"several codes ({', '.join(found)})" if found else "no code"
        shown = pattern if isinstance(pattern, str) else pattern.pattern
        raise AssertionError(f"{listed} by the pattern {shown} in the text:\n{self.visible_text}")

    def summary(self) -> str:
        """One line: sender, recipients, subject, size in octets."""
        recipients = one_line(", ".join(self.recipients))
        subject = self.subject if len(self.subject) <= _SHOWN else f"{self.subject[:_SHOWN]}…"
        sender = one_line(self.sender) or "<>"
        return f"{sender} -> {recipients}, subject {quoted(subject)}, {len(self.raw):,} octets"

    def __repr__(self) -> str:
        return f"<Message {self.summary()}>"
