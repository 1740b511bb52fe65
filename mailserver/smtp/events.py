"""What an SMTP session tells its surroundings, and what it waits for.

An event marked with a verdict stops the session until :meth:`Session.answer` gives one.
"""

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Destination


@attrs.frozen
class RecipientOffered:
    """RCPT. Verdict: Routed, Moved, Defer or Refuse."""

    recipient: Address


@attrs.frozen
class AddressAsked:
    """VRFY. Verdict: Accept with the full address, Forwarded, Moved, Refuse or WillNotTell."""

    name: str


@attrs.frozen
class ListAsked:
    """EXPN. Verdict: Members, Refuse or WillNotTell."""

    name: str


@attrs.frozen
class MessageStarted:
    """A message begins to arrive. ``protocol`` is a keyword of RFC 3848."""

    reverse_path: ReversePath
    recipients: tuple[Address, ...]
    destinations: tuple[Destination, ...]
    protocol: str
    helo: str


@attrs.frozen
class MessageChunk:
    """Octets of the message, transparency taken off."""

    data: bytes


@attrs.frozen
class MessageEnded:
    """The message is complete. Verdict: Accept once it is safe, Defer or Refuse."""


@attrs.frozen
class MessageAborted:
    """The message that had started is refused: forget what has come of it."""


@attrs.frozen
class OutputFull:
    """Many replies are queued: send what ``take_output`` gives, then go on. Asks for nothing."""


Event = (
    RecipientOffered
    | AddressAsked
    | ListAsked
    | MessageStarted
    | MessageChunk
    | MessageEnded
    | MessageAborted
    | OutputFull
)
