"""Events of the web."""

from mailserver.events.base import Event, event


@event
class WebChange(Event):
    """A client of the web changes something: a mailbox, an account, the queue. The account is empty if
    web.open has admitted the client."""

    text = "{account}: {what} (client {client}, by HTTP)"
    account: str
    what: str
    client: str
    session: str
