"""Events of mail filters."""

from mailserver.events.base import Event, event


@event
class FilterUnusable(Event):
    """A mail filter cannot be asked, or has not followed its protocol. The configuration says what happens to
    the message."""

    text = "{id}: mail filter failed: {reason} ({action}, {rule})"
    level = "error"
    id: str
    session: str
    reason: str
    rule: str
    action: str


@event
class HeaderChanged(Event):
    """Mail filters have added, changed or removed header fields of a message."""

    text = "{id}: header changed by mail filters: {names} ({rule})"
    id: str
    session: str
    names: str
    rule: str
