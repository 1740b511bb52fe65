"""Counts what a client does wrong, so that one which does nothing else is sent away."""

from mailserver.smtp.replies import Reply

# What a client has only itself to blame for: syntax, order, things that are not there.
_WRONG = frozenset({500, 501, 502, 503, 504, 555})

# Refused senders, recipients and names that are asked for, since the last message, that are forgiven: a
# mailing list has members that are gone. Each further one counts as a wrong command.
FREE_REFUSALS = 100


class ErrorCounter:
    """The wrong commands since the last good message; after ``most`` there are :attr:`too_many`, 0: never."""

    __slots__ = ("_most", "_refusals", "_wrong")

    def __init__(self, most: int) -> None:
        self._most = most
        self.forget()

    def forget(self) -> None:
        """A good message has come."""
        self._wrong = self._refusals = 0

    def is_wrong(self, answer: Reply, *, by_name: bool) -> bool:
        """Count a refused command. True if it was wrong. ``by_name``: only the address in it is refused."""
        if by_name:
            self._refusals += 1
        wrong = self._refusals > FREE_REFUSALS if by_name else answer.code in _WRONG
        self._wrong += wrong
        return wrong

    @property
    def too_many(self) -> bool:
        """The session is to end."""
        return 0 < self._most <= self._wrong
