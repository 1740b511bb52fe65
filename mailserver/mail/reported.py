"""The values that a delivery report is made of. Times are seconds since the epoch."""

from enum import Enum

import attrs

from mailserver.mail.address import Address
from mailserver.mail.verdict import Status


class Action(Enum):
    """What has happened to a recipient (RFC 3464 section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"

    @property
    def status_class(self) -> int:
        """The class of the status (RFC 3463 section 3.1)."""
        return {Action.FAILED: 5, Action.DELAYED: 4}.get(self, 2)


@attrs.frozen(kw_only=True)
class ReportedRecipient:
    """A recipient and what has happened to it.

    ``text`` is the reason. ``host`` is the name or the address of the other server that decided, ``reply``
    its last reply, such as "550 5.1.1 no such user"; both are "" if this server decided. ``orcpt`` is the
    parameter of RCPT, "" without it. ``expired``: it has failed because the retries have ended. A delayed
    recipient is tried again until ``retry_until``.
    """

    address: str
    action: Action
    status: Status
    text: str = ""
    host: str = ""
    reply: str = ""
    orcpt: str = ""
    expired: bool = False
    last_attempt: float | None = None
    retry_until: float | None = None


@attrs.frozen(kw_only=True)
class ReportedMessage:
    """The message that a report is about.

    ``envid`` is the parameter of MAIL, "" without it. ``content`` has at least the header of the message, and
    the whole message if that is to be returned (``whole``). Its line ends are CRLF. ``deliver_by`` and
    ``held_until`` are the times that the sender has set, None for none.
    """

    id: str
    received: float
    envid: str = ""
    content: bytes = attrs.field(repr=False)
    whole: bool = False
    deliver_by: float | None = None
    held_until: float | None = None


@attrs.frozen(kw_only=True)
class ReportHead:
    """The report itself: the name of this server, the id and the time of the report, and its addressee.

    ``to`` is the reverse-path of the message. If the report cannot be sent there, ``to`` is the postmaster,
    and ``instead_of`` is the reverse-path in angle brackets.
    """

    hostname: str
    id: str
    now: float
    to: Address
    instead_of: str = ""
