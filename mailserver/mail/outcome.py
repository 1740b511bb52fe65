"""The outcome of an attempt to deliver a message, for one recipient.

The status is the subject and detail of an enhanced status code (RFC 3463); its class follows from the
kind of outcome. ``host`` is the name or the address of another server that decided, ``reply`` its last reply,
such as "550 5.1.1 no such user"; both are "" if this server decided. Import the module and not the classes:
``Deferred`` is also Twisted's.
"""

import attrs

from mailserver.mail.verdict import MAILBOX_FULL, Status


@attrs.frozen
class Delivered:
    """The recipient has the message, or another server has accepted responsibility for it.

    ``reports``: the other server has also taken over the requests for reports (RFC 3461 section 5.2.1).
    ``deadline``: it has also taken over the deadline (RFC 2852).
    """

    host: str = ""
    reply: str = ""
    reports: bool = False
    deadline: bool = False


@attrs.frozen
class Deferred:
    """A temporary failure. The next attempt follows the schedule, or happens at ``until`` (seconds since the
    epoch), but not later than the longest time of the schedule allows.

    ``rule`` is the configuration key that decided, "" if there is none. ``unreachable``: the failure concerns
    the destination as a whole, so no message for it can be delivered now. ``tried`` is false if this server
    has postponed the attempt; then it does not count in the schedule.
    """

    status: Status
    text: str
    until: float | None = None
    rule: str = ""
    host: str = ""
    reply: str = ""
    unreachable: bool = False
    tried: bool = True


@attrs.frozen
class Failed:
    """A permanent failure. The sender gets a bounce."""

    status: Status
    text: str
    rule: str = ""
    host: str = ""
    reply: str = ""


DeliveryOutcome = Delivered | Deferred | Failed

FULL = Deferred(MAILBOX_FULL, "the mailbox is full", rule="storage.quota")
