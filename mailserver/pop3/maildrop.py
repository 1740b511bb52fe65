"""The maildrop as a session sees it: message numbers, marks, totals, the last message accessed.

RFC 1939 sections 5 and 7; LAST: RFC 1460. Numbers begin at 1 and stay fixed until the end of the session;
indexes, in events, begin at 0. Nothing is removed here: the session passes the marks on in the UPDATE state.
"""

from collections.abc import Callable, Iterable

from mailserver.mail.snapshot import Snapshot
from mailserver.pop3 import replies
from mailserver.session.verbs import Pieces, Refused

PIECE = 1000  # messages listed at a time, in less than a millisecond


class Maildrop:
    """Messages and marks. ``count`` and ``octets`` are the totals without the messages marked as deleted.

    ``last`` is the highest number accessed by RETR or DELE in this session. RFC 1460 would begin with that of
    the last session. Nothing stores it, since UIDL replaces it.
    """

    __slots__ = ("_marked", "_messages", "_total", "count", "last", "octets")

    def __init__(self, messages: Snapshot) -> None:
        self._messages = messages
        self._total = len(messages)
        self.reset()

    def reset(self) -> None:
        """Remove all marks; no message counts as accessed (RFC 1460, RSET)."""
        self._marked: set[int] = set()
        self.count = self._total
        self.octets = self._messages.octets
        self.last = 0

    def index(self, number: int) -> int:
        """The index of an existing message that is not marked. Raises :class:`Refused`."""
        index = number - 1
        if not 0 <= index < self._total:
            raise Refused(replies.no_such_message(self._total))
        if index in self._marked:
            raise Refused(replies.err(f"message {number} already deleted"))
        return index

    def size(self, number: int) -> int:
        """The size of the message in octets. Raises :class:`Refused`, as :meth:`index`."""
        return self._messages.size(self.index(number))

    def uid(self, number: int) -> str:
        """The unique-id of the message. Raises :class:`Refused`, as :meth:`index`."""
        return self._messages.uid(self.index(number))

    def mark(self, number: int) -> None:
        """Mark a message as deleted. Raises :class:`Refused`."""
        index = self.index(number)
        self._marked.add(index)
        self.count -= 1
        self.octets -= self._messages.size(index)
        if number > self.last:
            self.last = number

    def retrieved(self, index: int) -> int:
        """Count the message as accessed. Returns its size in octets."""
        if index >= self.last:
            self.last = index + 1
        return self._messages.size(index)

    @property
    def marked(self) -> tuple[int, ...]:
        """The indexes of the messages marked as deleted, ascending."""
        return tuple(sorted(self._marked))

    def sizes(self) -> Pieces:
        """The scan listings of all messages not marked, made piece by piece."""
        return self._lines("LIST", self._messages.sizes)

    def uids(self) -> Pieces:
        """The unique-id listings of all messages not marked, made piece by piece."""
        return self._lines("UIDL", self._messages.uids)

    def _lines(self, verb: str, values: Callable[[int, int], Iterable[object]]) -> Pieces:
        """``values`` returns the values for the messages from one index to another."""
        short = not self._marked and self._total <= PIECE
        if short and verb in self._messages.texts:
            return self._messages.texts[verb]
        start = 0
        while True:
            end = start + PIECE
            numbered: Iterable[tuple[int, object]] = enumerate(values(start, end), start + 1)
            if self._marked:
                numbered = [(number, value) for number, value in numbered if number - 1 not in self._marked]
            lines = "".join([f"{number} {value}\r\n" for number, value in numbered])
            if end >= self._total:
                text = f"{lines}.\r\n".encode()
                if short:
                    self._messages.texts[verb] = text
                return text
            yield lines.encode()
            start = end
