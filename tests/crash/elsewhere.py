"""Another server behind a spool, as a delivery engine, and the end of each recipient there.

It answers by the local part: ``no`` is refused, ``later`` deferred the first time, ``never`` always; of
``lost`` the first answer is lost on its way, after the message was accepted. Everybody else is accepted.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from email import message_from_bytes, policy

import attrs
from twisted.internet.defer import Deferred

from mailserver.interfaces import QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import QueuedRecipient
from mailserver.mail.verdict import Destination, Status
from mailserver.queue.incoming import remote_recipients

FAR, OTHER = "far.example", "other.example"
STATUSES = {"no": ("5.1.1",), "never": ("5.2.1", "5.4.7")}
"""Of a bounce: that of the refusal, of the last deferral, of an administrator who ends the attempts."""
NUMBER = re.compile(rb"^Subject: (\d{6})\r$", re.M)


def far(name: str, domain: str = FAR) -> Destination:
    """A recipient on the other server."""
    mailbox = Address(name, domain)
    return Destination(mailbox, mailbox, remote=True)


class ScriptedDelivery:
    """The delivery engine. ``accepts`` is called with each copy, before the answer is on its way."""

    def __init__(self) -> None:
        self._asked: Counter[tuple[str, str]] = Counter()

    def accepts(self, message: QueuedMessage, recipient: QueuedRecipient, text: bytes) -> None:
        """The other server has a copy."""

    def deliver(
        self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> "Deferred[Mapping[QueuedRecipient, DeliveryOutcome]]":
        """See :class:`~mailserver.interfaces.IDelivery`."""
        return Deferred.fromCoroutine(self._deliver(message, recipients))

    async def _deliver(
        self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> Mapping[QueuedRecipient, DeliveryOutcome]:
        content = b"".join(message.content.chunks())
        return {each: self._answer(message, each, each.head + content) for each in recipients}

    def _answer(self, message: QueuedMessage, each: QueuedRecipient, text: bytes) -> DeliveryOutcome:
        name = each.address.partition("@")[0]
        self._asked[message.id, each.address] += 1
        first = self._asked[message.id, each.address] == 1
        if name == "no":
            return outcome.Failed(Status(1, 1), "nobody", host=FAR, reply="550 5.1.1 nobody")
        if name == "never" or (name == "later" and first):
            return outcome.Deferred(Status(2, 1), "later", host=FAR, reply="450 4.2.1 later")
        self.accepts(message, each, text)
        if name == "lost" and first:
            return outcome.Deferred(Status(4, 2), "lost connection", host=FAR)
        return outcome.Delivered(FAR, "250 2.0.0 Ok")


@attrs.define(eq=False)
class Relayed:
    """One recipient on the other server of one message. ``taken`` is None while nothing is known.

    ``copies`` have been accepted there. ``uncertain`` are those of which we have no answer, or whose record
    a crash has prevented: each may be followed by another one.
    """

    number: bytes
    address: str
    text: bytes
    taken: bool | None = None
    copies: int = 0
    uncertain: int = 0
    removed: bool = False


class Elsewhere(ScriptedDelivery):
    """The other server, what was sent to it, and what it has accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Relayed] = []
        self.wrong: list[str] = []
        self._reports: set[bytes] = set()

    def expect(self, envelope: Envelope, content: bytes) -> list[Relayed]:
        """A message is about to be handed to the spool: what there is to know of its recipients here."""
        number = NUMBER.search(content)
        assert number is not None
        new = [
            Relayed(number[1], each.address, each.head + content) for each in remote_recipients(envelope, b"")
        ]
        self.sent += new
        return new

    def accepts(self, message: QueuedMessage, recipient: QueuedRecipient, text: bytes) -> None:
        """See :class:`ScriptedDelivery`."""
        if not message.reverse_path:
            self._reports.add(text)
            return
        for one in self.sent:
            if (one.address, one.text) == (recipient.address, text):
                one.copies += 1
                one.uncertain += recipient.address.startswith("lost@") and one.copies == 1
                return
        self.wrong.append(f"torn on its way to {recipient.address}: {text[:300]!r}")

    def crash(self, waiting: Collection[tuple[bytes, str]]) -> None:
        """The process ends while these, numbers and addresses, wait."""
        for one in self.sent:
            one.uncertain += one.copies > one.uncertain and (one.number, one.address) in waiting

    def compare(
        self, reports: Iterable[bytes], waiting: Collection[tuple[bytes, str]], *, synced: bool
    ) -> Iterator[str]:
        """Everything that is wrong. ``reports`` are in a mailbox here, and all there if ``synced``."""
        yield from self.wrong
        told = Counter(one for text in {*reports, *self._reports} for one in _told(text))
        for one in self.sent:
            name = one.address.partition("@")[0]
            waits = (one.number, one.address) in waiting
            what = f"{one.number.decode()} to {one.address}"
            failures = {
                status: count
                for (number, address, action, status), count in told.items()
                if (number, address, action) == (one.number, one.address, "failed")
            }
            for (number, address, action, _), count in told.items():
                if (number, address) == (one.number, one.address) and count > 1:
                    yield f"{what} was reported {count} times as {action}"
            if one.copies and failures:
                yield f"{what} was delivered, and bounced falsely: {failures}"
            if waits and failures:
                yield f"{what} was bounced, and waits"
            if one.copies > 1 + one.uncertain:
                yield f"{what} was delivered {one.copies} times"
            if not set(STATUSES.get(name, ())).issuperset(failures):
                yield f"{what} was bounced with {list(failures)}"
            if one.taken is False and (one.copies or failures or waits):
                yield f"{what} was refused, and sent nevertheless"
            if synced and one.taken and not (one.copies or failures or waits or one.removed):
                yield f"{what} was accepted and is lost: neither delivered nor bounced"


def _told(report: bytes) -> Iterator[tuple[bytes, str, str, str]]:
    """The number, the recipient, the action and the status of each recipient in a report."""
    number = NUMBER.search(report)
    for part in message_from_bytes(report, policy=policy.SMTP).walk():
        if part["Action"] and number:
            to = part["Final-Recipient"].partition(";")[2].strip()
            yield number[1], to, part["Action"].strip().lower(), part["Status"].split()[0]
