"""Conditions for messages: texts that a header field or the body contains, in any case."""

from collections.abc import Mapping

import attrs

from mailserver.web.summary import MessageSummary, searched_text


@attrs.frozen
class MessageQuery:
    """Texts to look for; "" matches every message."""

    sender: str = ""
    to: str = ""
    subject: str = ""
    text: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "MessageQuery":
        """The conditions among the parameters of a query."""
        return cls(
            **{
                name: query.get(parameter, "").casefold()
                for name, parameter in (
                    ("sender", "from"),
                    ("to", "to"),
                    ("subject", "subject"),
                    ("text", "text"),
                )
            }
        )

    @property
    def needs_whole(self) -> bool:
        """Whether the header is not enough."""
        return bool(self.text)

    @property
    def is_empty(self) -> bool:
        """Whether it matches every message."""
        return not (self.sender or self.to or self.subject or self.text)

    def matches(self, summary: MessageSummary, octets: bytes) -> bool:
        """Whether the message meets all conditions. Computes: not for the reactor's thread."""
        wanted = (
            (self.sender, summary.field("from")),
            (self.to, f"{summary.field('to')}, {summary.field('cc')}"),
            (self.subject, summary.field("subject")),
        )
        if any(text not in found.casefold() for text, found in wanted):
            return False
        return not self.text or self.text in f"{summary.field('subject')}\n{searched_text(octets)}".casefold()
