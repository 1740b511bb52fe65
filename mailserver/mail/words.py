"""Texts for log lines and reports: counts, and short lists of many names."""

from collections.abc import Iterable

IN_TEXT = 3
IN_FIELD = 100


def counted(number: int, noun: str) -> str:
    """``1 recipient``, ``2 recipients``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class AddressNames(tuple[object, ...]):
    """Addresses as a field of an event: :data:`IN_TEXT` in its text, :data:`IN_FIELD` in its value."""

    total: int

    def __new__(cls, names: Iterable[object]) -> "AddressNames":
        every = tuple(names)
        self = super().__new__(cls, every[:IN_FIELD])
        self.total = len(every)
        return self

    def __str__(self) -> str:
        named = ", ".join([f"<{name}>" for name in self[:IN_TEXT]])
        more = self.total - IN_TEXT
        return f"{named} and {more} more" if more > 0 else named
