"""The outcome of an attempt to deliver a message, for one recipient.

The status is the subject and detail of an enhanced status code (RFC 3463); its class follows from the
kind of outcome. Import the module and not the classes: ``Deferred`` is also Twisted's.
"""

import attrs

from mailserver.mail.verdict import MAILBOX_FULL, Status


@attrs.frozen
class Delivered:
    """The recipient has the message, or another server has accepted responsibility for it."""


@attrs.frozen
class Deferred:
    """A temporary failure. The next attempt follows the schedule, or happens at ``until`` (seconds since the
    epoch), but not later than the longest time of the schedule allows.

    ``rule`` is the configuration key that decided, "" if there is none.
    """

    status: Status
    text: str
    until: float | None = None
    rule: str = ""


@attrs.frozen
class Failed:
    """A permanent failure. The sender gets a bounce."""

    status: Status
    text: str
    rule: str = ""


DeliveryOutcome = Delivered | Deferred | Failed

FULL = Deferred(MAILBOX_FULL, "the mailbox is full", rule="storage.quota")
