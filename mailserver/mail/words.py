"""Words for log lines and reports: counts, and many names in a few words."""

from collections.abc import Iterable

IN_TEXT = 3
IN_FIELD = 100


def counted(number: int, noun: str) -> str:
    """``1 recipient``, ``2 recipients``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class AddressNames(tuple[object, ...]):
    """Addresses as a field of an event: the first few in its text, up to :data:`IN_FIELD` as its value."""

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
