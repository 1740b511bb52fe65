"""A filter without a socket: the stream to it answers each command by a script."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination, Routed
from mailserver.policy.milter.check import MailFilters
from mailserver.policy.milter.session import FilterVerdict, MailFilter
from mailserver.queue.entries import InMemoryContent
from mailserver.reception.transaction import Client, Recipient, Transaction
from tests.support.milter import CONTINUE, STAGES, options, split

ALICE = Address("alice", "example.org")
BOB = Address("bob", "example.org")
SENDER = Address("s", "far.example")
CLIENT = Client("192.0.2.1", helo="client.example", session="one")
MESSAGE = b"Subject: one\r\n\r\nbody\r\n"


class FakeFilterStream:
    """``script``: the octets that a command is answered with; None ends the connection, "" never answers."""

    def __init__(
        self, script: dict[bytes, bytes | None], seen: list[tuple[bytes, bytes]], whole: bool
    ) -> None:
        self.is_open = True
        self._piece = None if whole else 1
        self.script = script
        self.seen = seen
        self.waiting: Deferred[bytes] | None = None
        self._held = b""
        self._answers = b""

    def write(self, data: bytes) -> None:
        packets, self._held = split(self._held + data)
        for command, arguments in packets:
            self.seen.append((command, arguments))
            if command == b"D" or (command not in STAGES and command not in self.script):
                continue
            reply = self.script.get(command, options() if command == b"O" else CONTINUE)
            if reply is None:
                self.is_open = False
            else:
                self._answers += reply

    def read(self) -> Deferred[bytes]:
        if self._answers:
            answers = self._answers[: self._piece]
            self._answers = self._answers[len(answers) :]
            return succeed(answers)
        if not self.is_open:
            return fail(ConnectionError("the connection was closed"))
        self.waiting = Deferred()
        return self.waiting

    def close(self) -> None:
        self.is_open = False


@attrs.define
class FilteredClient:
    """A client whose mail is filtered, with a script for each filter. Its answers come octet by octet, or
    ``whole``."""

    scripts: list[dict[bytes, bytes | None]] = attrs.field(factory=lambda: [{}])
    failed: FilterVerdict = None
    client: Client = CLIENT
    refused: bool = False
    whole: bool = False
    seen: list[list[tuple[bytes, bytes]]] = attrs.field(init=False)
    streams: list[FakeFilterStream] = attrs.field(factory=list)
    clock: Clock = attrs.field(factory=Clock)
    threads: int = 0
    checks: MailFilters = attrs.field(init=False)
    transaction: Transaction = attrs.field(init=False)
    _ids: Iterator[int] = attrs.field(factory=lambda: iter(range(1, 1000)))

    def __attrs_post_init__(self) -> None:
        self.seen = [[] for _ in self.scripts]
        filters = [
            MailFilter(
                f"policy.milter[{at + 1}]", self._connect(at), self.failed, {"j": "mx"}, self.clock.seconds
            )
            for at in range(len(self.scripts))
        ]
        self.checks = MailFilters(filters, lambda ip: ip == "198.51.100.1", self._in_thread)

    def _connect(self, at: int) -> Callable[[], Deferred[Any]]:
        def connect() -> Deferred[Any]:
            if self.refused:
                return fail(ConnectionError("connection refused"))
            self.streams.append(FakeFilterStream(self.scripts[at], self.seen[at], self.whole))
            return succeed(self.streams[-1])

        return connect

    def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        self.threads += 1
        return succeed(function(*arguments))

    def commands(self, at: int = 0) -> str:
        """The commands that a filter has seen, without macros."""
        return b"".join(command for command, _ in self.seen[at] if command != b"D").decode()

    def data(self, command: bytes, at: int = 0) -> list[bytes]:
        """The data of all packets of one command."""
        return [data for one, data in self.seen[at] if one == command]

    def mail(self) -> Any:
        """The verdict on MAIL."""
        self.transaction = Transaction(
            f"id{next(self._ids)}", "listen[1]", self.client, SENDER, {"SIZE": "9"}
        )
        return now(self.checks.check_sender(self.transaction))

    def rcpt(self, address: Address = ALICE) -> Any:
        """The verdict on RCPT."""
        recipient = Recipient(address, Routed((Destination(address, address),)), {"NOTIFY": "NEVER"})
        verdict = now(self.checks.check_routed(self.transaction, recipient))
        self.transaction = self.transaction.with_recipient(recipient, b"")
        return verdict

    def data_end(self, message: bytes = MESSAGE) -> Any:
        """The verdict on the message."""
        return now(self.checks.check_message(self.transaction, InMemoryContent(message)))

    def send(self, message: bytes = MESSAGE) -> Any:
        """All of it; the first verdict that does not accept, or the last one."""
        for verdict in (self.mail(), self.rcpt()):
            if type(verdict).__name__ in ("Defer", "Refuse"):
                return verdict
        return self.data_end(message)


def now(result: Any) -> Any:
    """The result of a Deferred that has fired; the Deferred itself if it still waits."""
    if not isinstance(result, Deferred):
        return result
    found: list[Any] = []
    result.addBoth(found.append)
    if not found:
        return result
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]
