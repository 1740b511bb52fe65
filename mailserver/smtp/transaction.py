"""What one transaction has gathered, from MAIL to the end of the message (RFC 5321 section 3.3)."""

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Destination, Routed
from mailserver.smtp.text import Text


class Transaction:
    """``recipients`` are those accepted, as they were given.

    Each mailbox that they lead to gets one copy, however many ways lead there. The first way decides how the
    copy is marked, but a way by a list gives place to one without: its bounces are the sender's affair.
    """

    __slots__ = ("destinations", "recipients", "reverse_path", "text")

    def __init__(self) -> None:
        self.reverse_path: ReversePath = None
        self.recipients: list[Address] = []
        self.destinations: dict[Address, Destination] = {}
        self.text: Text | None = None

    def add(self, recipient: Address, routed: Routed) -> None:
        """Take one more recipient."""
        self.recipients.append(recipient)
        for destination in routed.destinations:
            known = self.destinations.get(destination.mailbox)
            if known is None or (known.bounces_to and not destination.bounces_to):
                self.destinations[destination.mailbox] = destination
