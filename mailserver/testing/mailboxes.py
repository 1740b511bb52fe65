"""The mailboxes of a fixture, as a test looks them up."""

from collections.abc import Callable, Iterable

from mailserver.testing.message import CaughtMessage


class Mailboxes(dict[str, list[CaughtMessage]]):
    """Messages by the address of their mailbox.

    Any spelling of an address finds its mailbox, also a name without a domain. A mailbox without messages is
    an empty list, and no key.
    """

    def __init__(self, messages: Iterable[CaughtMessage], normal: Callable[[str], str]) -> None:
        super().__init__()
        self._normal = normal
        for message in messages:
            self.setdefault(message.mailbox, []).append(message)

    def __missing__(self, address: str) -> list[CaughtMessage]:
        return self.get(self._normal(address), [])
