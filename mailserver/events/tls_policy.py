"""Events of the TLS policies of other domains."""

from mailserver.events.base import Event, event


@event
class STSPolicyFetched(Event):
    """The server has fetched the MTA-STS policy of a domain."""

    text = "MTA-STS policy of {domain}: {mode}, hosts {names}"
    domain: str
    mode: str
    names: str


@event
class STSPolicyNotFetched(Event):
    """The server cannot fetch the MTA-STS policy of a domain. A policy that was fetched before stays in force
    until it expires."""

    text = "cannot fetch the MTA-STS policy of {domain}: {reason}"
    level = "warn"
    domain: str
    reason: str


@event
class STSPolicyNotStored(Event):
    """The server cannot read or write the MTA-STS policy of a domain in the data directory."""

    text = "cannot store the MTA-STS policy of {domain}: {error}"
    level = "error"
    domain: str
    error: object


@event
class TLSReportSent(Event):
    """The server has sent a daily report about TLS to the addresses that a domain publishes for it."""

    text = "{id}: report about TLS with {domain}: to {recipients}"
    id: str
    domain: str
    recipients: object


@event
class TLSReportNotSent(Event):
    """The server cannot send the daily report about TLS to a domain, and discards it."""

    text = "report about TLS with {domain} not sent: {reason}"
    level = "warn"
    domain: str
    reason: str
