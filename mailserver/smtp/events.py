"""Events of an SMTP session. An event whose docstring names a verdict is a request for it."""

from collections.abc import Mapping

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Parameters
from mailserver.mail.verdict import MAIL_SYSTEM, Defer
from mailserver.session.events import CommandRefused as CommandRefused
from mailserver.session.events import LoginAsked, LoginRefused, SessionRequest
from mailserver.session.events import OutputFull as OutputFull
from mailserver.session.events import TLSWanted as TLSWanted
from mailserver.smtp.options import SMTPOptions

Attributes = Mapping[str, str]
"""Of XCLIENT or XFORWARD, by name in upper case, "" for an unknown value."""

NO_ATTRIBUTES: Attributes = {}

FAILURE = Defer(MAIL_SYSTEM, "internal error; please try again later")


@attrs.frozen
class VerdictRequest(SessionRequest):
    """A request that is answered by a verdict."""

    @property
    def failure(self) -> Defer:
        return FAILURE


@attrs.frozen
class LoggedIn:
    """AUTH has succeeded."""

    account: str


@attrs.frozen
class SenderOffered(VerdictRequest):
    """MAIL. Verdict: Accept, Defer or Refuse.

    ``helo`` is the argument of HELO or EHLO, ``protocol`` a keyword of RFC 3848 or RFC 6531 section 4.3.
    ``origin`` has the attributes of XFORWARD.
    """

    reverse_path: ReversePath
    parameters: Parameters
    helo: str
    protocol: str
    origin: Attributes = NO_ATTRIBUTES


@attrs.frozen
class NamedClient:
    """The client that a proxy speaks for: the options of its session, and its account, "" for none."""

    options: SMTPOptions
    account: str


@attrs.frozen
class ClientNamed(VerdictRequest):
    """XCLIENT: the client is another one. Answer: NamedClient, Defer or Refuse.

    The session begins again. The attributes are those of all XCLIENT commands so far.
    """

    attributes: Attributes


@attrs.frozen
class RecipientOffered(VerdictRequest):
    """RCPT. Verdict: Routed, Moved, Defer or Refuse."""

    recipient: Address
    parameters: Parameters


@attrs.frozen
class AddressAsked(VerdictRequest):
    """VRFY. Verdict: Accept with the full address, Forwarded, Moved, Refuse or CannotVerify.

    ``utf8``: the reply may have UTF-8.
    """

    name: str
    utf8: bool = False


@attrs.frozen
class ListAsked(VerdictRequest):
    """EXPN. Verdict: Members, Refuse or CannotVerify. ``utf8``: the reply may have UTF-8."""

    name: str
    utf8: bool = False


@attrs.frozen
class QueueStartAsked(VerdictRequest):
    """ETRN. Verdict: QueueStarted, Defer or Refuse."""

    domain: str


@attrs.frozen
class FetchAsked(VerdictRequest):
    """ATRN. Verdict: MailWaits, Defer or Refuse. ``domains`` is empty for all that the account may fetch."""

    domains: tuple[str, ...]


@attrs.frozen
class RolesReversed:
    """The client receives the mail for ``domains`` now, by the same connection (RFC 2645 section 5.2).

    Send what ``take_output`` returns. This session reads nothing more; ``take_rest`` returns its input.
    """

    domains: tuple[str, ...]


@attrs.frozen
class MessageStarted:
    """The content of the message begins to arrive."""


@attrs.frozen
class MessageChunk:
    """Octets of the message, without dot-stuffing."""

    data: bytes


@attrs.frozen
class MessageEnded(VerdictRequest):
    """The message is complete. Verdict: Accept once it is stored, Defer or Refuse.

    In LMTP the verdict may be a sequence with one verdict for each of the ``recipients``, in the order of
    their RCPT commands. ``recipients`` is the number of those accepted.
    """

    recipients: int


@attrs.frozen
class MessageWithdrawn:
    """The client has ended the transaction while the message was arriving: drop it."""


@attrs.frozen
class MessageAborted:
    """The message that is arriving is rejected: drop it.

    ``reason`` is the text of the later reply, ``rule`` the configuration key that decided.
    """

    reason: str
    rule: str


SMTPEvent = (
    TLSWanted
    | LoginAsked
    | LoginRefused
    | LoggedIn
    | ClientNamed
    | SenderOffered
    | RecipientOffered
    | AddressAsked
    | ListAsked
    | QueueStartAsked
    | FetchAsked
    | RolesReversed
    | MessageStarted
    | MessageChunk
    | MessageEnded
    | MessageWithdrawn
    | MessageAborted
    | CommandRefused
    | OutputFull
)
