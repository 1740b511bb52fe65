"""What one transaction has gathered, from MAIL to the end of the message (RFC 5321 section 3.3)."""

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Destination, Routed
from mailserver.smtp.text import Text


class Transaction:
    """``recipients`` are those accepted, as they were given; each mailbox they lead to is kept once."""

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
            self.destinations.setdefault(destination.mailbox, destination)
