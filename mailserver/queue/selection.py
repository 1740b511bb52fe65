"""Chooses messages and recipients in the queue, for the commands of an administrator."""

import attrs

from mailserver.mail.address import folded
from mailserver.mail.queued import HELD, LOCAL, remote_destination
from mailserver.queue.entries import Listed, ListedRecipient

STATES = ("due", "waiting", "held")


def state_of(each: ListedRecipient, now: float) -> str:
    """One of :data:`STATES`; "damaged" if the row has no valid due time. A recipient is held by an
    administrator, or by the sender until a time (RFC 4865)."""
    if not isinstance(each.next, float):
        return "damaged"
    by_sender = isinstance(each.release, float) and now < each.release <= each.next
    return "held" if by_sender or each.next >= HELD else "due" if each.next <= now else "waiting"


@attrs.frozen
class Selection:
    """The conditions for messages and recipients; an empty one is met by all. Addresses ignore case.

    ``ids`` are those of messages. ``domain`` is the domain of recipients, in the form of addresses.
    ``sender`` is a reverse-path, "" for the null reverse-path, None for any. ``states`` are of recipients.
    """

    ids: tuple[str, ...] = ()
    recipient: str = ""
    domain: str = ""
    sender: str | None = None
    states: tuple[str, ...] = ()

    @property
    def of_recipients(self) -> bool:
        """Whether there are conditions for recipients."""
        return bool(self.recipient or self.domain or self.states)

    @property
    def destination(self) -> str:
        """The destination of recipients in the domain on other servers."""
        return remote_destination(self.domain)

    def chosen(self, one: Listed, now: float) -> Listed | None:
        """The message with the recipients that meet the conditions; None if it does not meet them."""
        if self.ids and one.id not in self.ids:
            return None
        if self.sender is not None and folded(str(one.reverse_path)) != folded(self.sender):
            return None
        if not self.of_recipients:
            return one
        recipients = tuple(each for each in one.recipients if self._meets(each, now))
        return attrs.evolve(one, recipients=recipients) if recipients else None

    def _meets(self, each: ListedRecipient, now: float) -> bool:
        names = (folded(str(each.address)), folded(str(each.recipient)))
        if self.recipient and folded(self.recipient) not in names:
            return False
        if self.domain and not self._is_in_domain(each):
            return False
        return not self.states or state_of(each, now) in self.states

    def _is_in_domain(self, each: ListedRecipient) -> bool:
        if each.destination == LOCAL:
            return str(each.address).endswith(f"@{self.domain}")
        return each.destination == self.destination
