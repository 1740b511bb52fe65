"""A history of contacts in memory, and messages for the checks that use it."""

from typing import Any

from twisted.internet.defer import execute
from twisted.internet.task import Clock

from mailserver.accounts.history import ContactHistory
from mailserver.accounts.memory_history import MemoryHistory
from mailserver.errors import StorageError
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Destination, Routed
from mailserver.reception.transaction import Client, Recipient, Transaction

ALICE = Address("alice", "example.org")
START = 1e9  # seconds since the epoch


def recipient(address: Address = ALICE, relayed: bool = False) -> Recipient:
    return Recipient(
        address, Routed((Destination(address.key, address, remote=relayed),), relayed=relayed), {}
    )


def message(client: Client, sender: ReversePath, *recipients: Recipient) -> Transaction:
    return Transaction("id", "listen[1]", client, sender, {}, recipients or (recipient(),))


class HistoryCase:
    """A history, its engine and its clock."""

    def __init__(self) -> None:
        self.clock, self.engine = Clock(), MemoryHistory()
        self.history = ContactHistory(lambda: self.engine, self.run, self.clock, self.now)
        self.is_broken = False

    def now(self) -> float:
        return START + self.clock.seconds()

    def run(self, function: Any, *arguments: Any) -> Any:
        return execute(self.fail if self.is_broken else function, *arguments)

    def fail(self, *arguments: object) -> None:
        raise StorageError("disk full")
