"""Events of the checks of senders."""

from mailserver.events.base import Event, event


@event
class SenderChecked(Event):
    """The results of SPF, DKIM and DMARC for a message, and what follows from them."""

    text = "{id}: sender checks: SPF {spf}; DKIM {dkim}; DMARC {dmarc}: {verdict} ({rule})"
    id: str
    session: str
    client: str
    sender: str
    spf: str
    dkim: str
    dmarc: str
    arc: str
    verdict: str
    rule: str


@event
class SenderCheckFailed(Event):
    """A check of the sender has failed unexpectedly."""

    text = "{id}: the check {check} failed ({rule})"
    level = "critical"
    id: str
    session: str
    client: str
    check: str
    rule: str
