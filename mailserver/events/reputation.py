"""Events of the reputation of clients and senders: lists in DNS, greylisting."""

from mailserver.events.base import Event, event


@event
class ClientListed(Event):
    """Lists in DNS have the address of a client."""

    text = "client {client} is listed in {zones} (score {score})"
    client: str
    session: str
    zones: str
    score: int


@event
class DnsblRefusedQuery(Event):
    """A list has refused a query, or does not work. No mail is rejected for such an answer. The usual reason
    is a public resolver in dns.servers. Reported once an hour."""

    text = "DNSBL {zone} refused the query or is dead: it answered {answer} ({rule}); accepting the mail"
    level = "warn"
    zone: str
    answer: str
    rule: str


@event
class DnsblUnanswered(Event):
    """A list does not answer. No mail is rejected without an answer. Reported once an hour."""

    text = "no answer from DNSBL {zone}: {reason} ({rule}); accepting the mail"
    level = "warn"
    zone: str
    reason: str
    rule: str


@event
class HistoryUnusable(Event):
    """The history of contacts cannot be used. No mail is greylisted or tagged without it. Reported once an
    hour."""

    text = "history of contacts unusable: {error}; accepting mail without it"
    level = "error"
    error: str


@event
class GreylistPassed(Event):
    """A sender has tried again after its mail was greylisted, and the recipient is accepted."""

    text = "{sender} from {client} has passed greylisting after {seconds} s"
    client: str
    session: str
    sender: str
    seconds: int


@event
class GreylistSpared(Event):
    """The DKIM signature of a known domain has spared a message from greylisting."""

    text = "{id}: {sender} from {client} is spared greylisting: signed by {domain}, which is known"
    id: str
    client: str
    session: str
    sender: str
    domain: str


@event
class FirstContactPassed(Event):
    """An unknown sender has tried again after its first mail was delayed, and the message is accepted."""

    text = "{id}: first contact: {sender} from {client} has passed after {seconds} s"
    id: str
    client: str
    session: str
    sender: str
    seconds: int


@event
class ClientCheckFailed(Event):
    """A check of the client has failed unexpectedly."""

    text = "the check {check} of client {client} failed ({rule})"
    level = "critical"
    client: str
    session: str
    check: str
    rule: str
