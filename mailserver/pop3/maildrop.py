"""The session's view of its maildrop: message numbers, marks, totals, last message accessed.

RFC 1939 sections 5 and 7; LAST is of RFC 1460. Numbers count from 1 and stay fixed until the end
of the session; indexes, which the outside speaks of, count from 0. Nothing is removed here: marks
are handed out when the session enters the update state.
"""

from collections.abc import Sequence
from typing import Protocol

from mailserver.pop3 import replies
from mailserver.pop3.replies import Refused


class Message(Protocol):
    """What must be known of a message: its unique-id, and its size in octets as sent."""

    @property
    def uid(self) -> str: ...

    @property
    def size(self) -> int: ...


class Maildrop:
    """Messages and marks. ``count`` and ``octets`` leave out what is marked as deleted.

    ``last`` is the highest number accessed by RETR or DELE in this session. RFC 1460 would begin
    with the one of the session before, which nobody keeps: UIDL has taken over that task.
    """

    __slots__ = ("_marked", "_messages", "count", "last", "octets")

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self.reset()

    def reset(self) -> None:
        """Take all marks away; nothing counts as accessed any more (RFC 1460, RSET)."""
        self._marked: set[int] = set()
        self.count = len(self._messages)
        self.octets = sum([message.size for message in self._messages])
        self.last = 0

    def index(self, number: int) -> int:
        """The index of a message that is there and not marked. Raises :class:`Refused`."""
        if not 1 <= number <= len(self._messages):
            raise Refused(replies.no_such_message(len(self._messages)))
        if number - 1 in self._marked:
            raise Refused(replies.err(f"message {number} already deleted"))
        return number - 1

    def message(self, number: int) -> Message:
        """As :meth:`index`, but the message itself."""
        return self._messages[self.index(number)]

    def mark(self, number: int) -> None:
        """Mark a message as deleted. Raises :class:`Refused`."""
        index = self.index(number)
        self._marked.add(index)
        self.count -= 1
        self.octets -= self._messages[index].size
        self.accessed(number)

    def accessed(self, number: int) -> None:
        """Note that the client has had this message."""
        self.last = max(self.last, number)

    @property
    def marked(self) -> tuple[int, ...]:
        """The indexes of the messages marked as deleted, ascending."""
        return tuple(sorted(self._marked))

    def sizes(self) -> bytes:
        """The scan listings of all messages not marked, one to a line."""
        return "".join([f"{number} {message.size}\r\n" for number, message in self._present()]).encode()

    def uids(self) -> bytes:
        """The unique-id listings of all messages not marked, one to a line."""
        return "".join([f"{number} {message.uid}\r\n" for number, message in self._present()]).encode()

    def _present(self) -> Sequence[tuple[int, Message]]:
        numbered = enumerate(self._messages, 1)
        if not self._marked:
            return list(numbered)
        return [(number, message) for number, message in numbered if number - 1 not in self._marked]
