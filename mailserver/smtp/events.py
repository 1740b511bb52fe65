"""What an SMTP session tells its surroundings, and what it waits for.

An event that says what it is answered by stops the session until :meth:`Session.answer` does so.
"""

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Destination
from mailserver.sasl.steps import Question, Reason


@attrs.frozen
class TLSWanted:
    """STARTTLS: send what ``take_output`` gives and begin TLS. Answer: :meth:`Session.secured`.

    ``discarded`` octets came behind the command in the clear and are gone.
    """

    discarded: int


@attrs.frozen
class LoginAsked:
    """AUTH by ``mechanism``. Answered by what ``question`` wants."""

    mechanism: str
    question: Question


@attrs.frozen
class LoginRefused:
    """AUTH by ``mechanism`` has failed, under ``name`` if that was told. Answered by None, in time."""

    mechanism: str
    name: str
    reason: Reason


@attrs.frozen
class LoggedIn:
    """AUTH has succeeded. Asks for nothing."""

    account: str


@attrs.frozen
class SenderOffered:
    """MAIL. Verdict: Accept, Defer or Refuse."""

    reverse_path: ReversePath


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
    """The message that had started is refused: forget what has come of it.

    ``reason`` is what the client will be told, ``rule`` the key of the configuration that decided.
    """

    reason: str
    rule: str


@attrs.frozen
class CommandRefused:
    """A command has been refused, and answered. Asks for nothing.

    ``rule`` is the key of the configuration that decided, "" if the command was wrong in itself;
    ``ended``: it was the end of the session.
    """

    reason: str
    rule: str = ""
    ended: bool = False


@attrs.frozen
class OutputFull:
    """Many replies are queued: send what ``take_output`` gives, then go on. Asks for nothing."""


Event = (
    TLSWanted
    | LoginAsked
    | LoginRefused
    | LoggedIn
    | SenderOffered
    | RecipientOffered
    | AddressAsked
    | ListAsked
    | MessageStarted
    | MessageChunk
    | MessageEnded
    | MessageAborted
    | CommandRefused
    | OutputFull
)
