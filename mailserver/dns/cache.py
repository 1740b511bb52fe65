"""A cache of DNS answers, bounded in size, each for its time to live (RFC 1035 section 3.2.1, RFC 2308)."""

from collections import OrderedDict
from collections.abc import Callable

import attrs

from mailserver.dns.records import DNSAnswer, RecordKind

CAPACITY = 8 * 1024 * 1024  # octets of DNS messages
MIN_SIZE = 512  # octets that each answer counts at least, for what Python needs beside the records

DNSQuestion = tuple[str, RecordKind]


@attrs.frozen
class CachedAnswer:
    """An answer, the time at which it expires, and the octets that it counts."""

    answer: DNSAnswer
    expires: float
    size: int


class AnswerCache:
    """Answers by question. The answers that were not used for the longest time make room for new ones."""

    def __init__(self, seconds: Callable[[], float], capacity: int = CAPACITY) -> None:
        """``seconds`` is a clock that does not go backwards."""
        self._seconds = seconds
        self._capacity = capacity
        self._size = 0
        self._entries: OrderedDict[DNSQuestion, CachedAnswer] = OrderedDict()

    def get(self, question: DNSQuestion) -> DNSAnswer | None:
        """The cached answer with its remaining time to live; None if it is unknown or has expired."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        left = entry.expires - self._seconds()
        if left <= 0:
            self._drop(question)
            return None
        self._entries.move_to_end(question)
        known = entry.answer
        return DNSAnswer(
            known.name, known.kind, known.records, known.exists, known.secure, left, known.canonical
        )

    def put(self, question: DNSQuestion, answer: DNSAnswer, octets: int) -> None:
        """Keep an answer for its time to live; ``octets`` is the length of the messages it came in."""
        if answer.ttl <= 0:
            return
        self._drop(question)
        entry = CachedAnswer(answer, self._seconds() + answer.ttl, max(octets, MIN_SIZE))
        self._entries[question] = entry
        self._size += entry.size
        while self._size > self._capacity:
            self._drop(next(iter(self._entries)))

    def _drop(self, question: DNSQuestion) -> None:
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._size -= entry.size
