"""The maildrop as a session sees it: message numbers, marks, totals, the last message accessed.

RFC 1939 sections 5 and 7; LAST: RFC 1460. Numbers begin at 1 and stay fixed until the end of the session;
indexes, in events, begin at 0. Nothing is removed here: the session passes the marks on in the UPDATE state.
"""

from collections.abc import Callable, Iterable, Sequence

from mailserver.mail.snapshot import Snapshot
from mailserver.pop3 import replies, texts
from mailserver.session.verbs import Pieces, Refused

PIECE = 1000  # messages listed at a time, in less than a millisecond


class Maildrop:
    """Messages and marks. ``count`` and ``octets`` are the totals without the messages marked as deleted.

    ``last`` is the highest number accessed by RETR or DELE in this session. RFC 1460 would begin with that of
    the last session. Nothing stores it, since UIDL replaces it. ``surrogates`` has the sizes of the messages
    that the client gets as surrogates, by index.
    """

    __slots__ = ("_marked", "_messages", "_retrieved", "_total", "count", "last", "octets", "surrogates")

    def __init__(self, messages: Snapshot, *, utf8: bool = False, keeps: bool = True) -> None:
        """``utf8``: the client is in UTF-8 mode, and gets no surrogates. If it does not ``keep`` messages,
        those that it retrieves are removed."""
        self._retrieved: set[int] | None = None if keeps else set()
        self._messages = messages
        self.surrogates = {} if utf8 else messages.surrogates
        self._total = len(messages)
        self.reset()

    def show_utf8(self) -> None:
        """The client has entered the UTF-8 mode. Numbers and marks stay."""
        if self.surrogates:
            self.surrogates = {}
            self.octets = self._messages.octets - sum(map(self._messages.size, self._marked))

    def _size(self, index: int) -> int:
        if index in self.surrogates:
            return self.surrogates[index]
        return self._messages.size(index)

    def reset(self) -> None:
        """Remove all marks; no message counts as accessed (RFC 1460, RSET)."""
        self._marked: set[int] = set()
        if self._retrieved is not None:
            self._retrieved = set()
        self.count = self._total
        self.octets = self._messages.surrogate_octets if self.surrogates else self._messages.octets
        self.last = 0

    def index(self, number: int) -> int:
        """The index of an existing message that is not marked. Raises :class:`Refused`."""
        index = number - 1
        if not 0 <= index < self._total:
            raise Refused(replies.no_such_message(self._total))
        if index in self._marked:
            raise Refused(replies.err(texts.ALREADY_DELETED, number))
        return index

    def size(self, number: int) -> int:
        """The size of the message in octets. Raises :class:`Refused`, as :meth:`index`."""
        return self._size(self.index(number))

    def uid(self, number: int) -> str:
        """The unique-id of the message. Raises :class:`Refused`, as :meth:`index`."""
        return self._messages.uid(self.index(number))

    def mark(self, number: int) -> None:
        """Mark a message as deleted. Raises :class:`Refused`."""
        index = self.index(number)
        self._marked.add(index)
        self.count -= 1
        self.octets -= self._size(index)
        if number > self.last:
            self.last = number

    def retrieved(self, index: int) -> int:
        """Count the message as accessed. Returns its size in octets."""
        if index >= self.last:
            self.last = index + 1
        if self._retrieved is not None:
            self._retrieved.add(index)
        return self._size(index)

    def mark_retrieved(self) -> None:
        """Mark the retrieved messages as deleted if the client does not keep them."""
        for index in (self._retrieved or set()) - self._marked:
            self.mark(index + 1)

    @property
    def marked(self) -> tuple[int, ...]:
        """The indexes of the messages marked as deleted, ascending."""
        return tuple(sorted(self._marked))

    def sizes(self) -> Pieces:
        """The scan listings of all messages not marked, made piece by piece."""
        return self._lines("LIST of surrogates" if self.surrogates else "LIST", self._sizes)

    def _sizes(self, start: int, stop: int) -> Sequence[int]:
        sizes = self._messages.sizes(start, stop)
        if not self.surrogates:
            return sizes
        return [self.surrogates.get(index, size) for index, size in enumerate(sizes, start)]

    def uids(self) -> Pieces:
        """The unique-id listings of all messages not marked, made piece by piece."""
        return self._lines("UIDL", self._messages.uids)

    def _lines(self, name: str, values: Callable[[int, int], Iterable[object]]) -> Pieces:
        """``name`` is that of the list in the cache; ``values`` returns the values for the messages from one
        index to another."""
        short = not self._marked and self._total <= PIECE
        if short and name in self._messages.texts:
            return self._messages.texts[name]
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
                    self._messages.texts[name] = text
                return text
            yield lines.encode()
            start = end
