"""The messages of a maildrop at the start of a session, packed.

A message takes the octets of its unique-id and about sixteen more, in a few objects for all messages. So a
large mailbox needs little memory and little work of the garbage collector.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, islice
from typing import overload

import attrs

PACKED_AT_ONCE = 1000  # texts


@attrs.frozen
class MessageInfo:
    """A message of a maildrop: its unique-id (RFC 1939 section 7) and its size in octets as sent.

    ``surrogate`` is the size of its surrogate, None if it needs none.
    """

    uid: str
    size: int
    surrogate: int | None = None


class Texts:
    """Texts without a NUL, packed into one."""

    __slots__ = ("_ends", "_text")

    def __init__(self, texts: Iterable[str]) -> None:
        """``texts`` may be made one by one: only a part of them is in memory at a time."""
        parts: list[str] = []
        self._ends = array("Q", [0])
        left = iter(texts)
        while part := list(islice(left, PACKED_AT_ONCE)):
            ends = accumulate([len(text) + 1 for text in part], initial=self._ends[-1])
            self._ends.extend(islice(ends, 1, None))
            parts += ["\0".join(part), "\0"]
        self._text = "".join(parts)

    def __getitem__(self, index: int) -> str:
        return self._text[self._ends[index] : self._ends[index + 1] - 1]

    def between(self, start: int, stop: int) -> list[str]:
        """The texts from index ``start`` to ``stop``, or to the end."""
        stop = min(stop, len(self._ends) - 1)
        return self._text[self._ends[start] : self._ends[stop] - 1].split("\0") if start < stop else []


class Snapshot(Sequence[MessageInfo]):
    """Messages in order. ``octets`` is the sum of their sizes, ``surrogate_octets`` that with surrogates.

    ``surrogates`` has the sizes of the surrogates of messages with UTF-8 in a header, by index (see
    :mod:`mailserver.mail.surrogate`). ``texts`` is a cache for a protocol: replies that describe all
    messages, by a name.
    """

    __slots__ = ("_sizes", "_uids", "octets", "surrogate_octets", "surrogates", "texts")

    def __init__(
        self,
        uids: Iterable[str] = (),
        sizes: Iterable[int] = (),
        surrogates: Mapping[int, int] | None = None,
    ) -> None:
        self._uids = Texts(uids)
        self._sizes = array("Q", sizes)
        self.octets = sum(self._sizes)
        self.surrogates = surrogates or {}
        self.surrogate_octets = self.octets
        for index, size in self.surrogates.items():
            self.surrogate_octets += size - self._sizes[index]
        self.texts: dict[str, bytes] = {}

    @classmethod
    def of(cls, messages: Sequence[MessageInfo]) -> "Snapshot":
        """A snapshot of single messages."""
        return cls(
            [message.uid for message in messages],
            [message.size for message in messages],
            {number: size for number, each in enumerate(messages) if (size := each.surrogate) is not None},
        )

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> MessageInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[MessageInfo]: ...
    def __getitem__(self, index: int | slice) -> MessageInfo | list[MessageInfo]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return MessageInfo(self._uids[index], self._sizes[index], self.surrogates.get(index))

    def uid(self, index: int) -> str:
        """The unique-id of a message."""
        return self._uids[index]

    def size(self, index: int) -> int:
        """The size of a message."""
        return self._sizes[index]

    def uids(self, start: int, stop: int) -> Sequence[str]:
        """The unique-ids from index ``start`` to ``stop``, or to the end."""
        return self._uids.between(start, stop)

    def sizes(self, start: int, stop: int) -> Sequence[int]:
        """The sizes from index ``start`` to ``stop``, or to the end."""
        return self._sizes[start:stop]
