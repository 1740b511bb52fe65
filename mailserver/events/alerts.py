"""Events of alerts."""

from mailserver.events.base import Event, event


@event
class AlertRaised(Event):
    """The server alerts the administrator."""

    text = "alert: {reason}"
    level = "warn"
    name: str
    reason: str


@event
class AlertNotSent(Event):
    """An alert could not be sent by one of its ways."""

    text = "alert {name} not sent: {error}"
    level = "error"
    name: str
    error: object


@event
class QueueHeld(Event):
    """The waiting mail of an account is held, since the account exceeds its sending limit."""

    text = "held the mail of {account} in the queue (count: {count}, {rule})"
    level = "warn"
    account: str
    count: int
    rule: str
