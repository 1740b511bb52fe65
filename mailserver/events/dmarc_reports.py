"""Events of the aggregate reports of DMARC."""

from mailserver.events.base import Event, event


@event
class DMARCReportSent(Event):
    """The server has sent the daily report about the mail of a domain to the addresses that ask for it."""

    text = "{id}: DMARC report about {domain}: to {recipients}"
    id: str
    domain: str
    recipients: object


@event
class DMARCReportNotSent(Event):
    """The server cannot send the daily report about the mail of a domain, and discards it."""

    text = "DMARC report about {domain} not sent: {reason}"
    domain: str
    reason: str
