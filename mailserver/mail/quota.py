"""Quotas of mailboxes."""

import attrs


@attrs.frozen
class Quota:
    """The maximum size of a mailbox, in octets and in messages. 0 means no limit."""

    octets: int = 0
    messages: int = 0

    def admits(self, messages: int, octets: int, more: int) -> bool:
        """Whether a mailbox of this usage may get one more message, of ``more`` octets."""
        return not (
            (self.octets and octets + more > self.octets) or (self.messages and messages >= self.messages)
        )
