"""What the handlers of the API work with: who asks, and the parts of the server that answer."""

from collections.abc import Callable

import attrs

from mailserver.errors import AddressError
from mailserver.http.exchange import HTTPHead, HTTPProblem
from mailserver.interfaces import IAuthenticator
from mailserver.mail.address import Address
from mailserver.threads.pool import Threads
from mailserver.web.access import Visitor
from mailserver.web.mailboxes import MailboxReader, MessageId, no_such


@attrs.frozen(kw_only=True)
class ApiParts:
    """The parts of the server that the API uses.

    ``has_mailbox`` says whether an address has a mailbox here.
    """

    reader: MailboxReader
    threads: Threads
    authenticator: IAuthenticator
    has_mailbox: Callable[[Address], bool]


@attrs.frozen(kw_only=True)
class ApiContext:
    """One request of a visitor."""

    visitor: Visitor
    head: HTTPHead
    parts: ApiParts

    def mailbox(self, name: str | None) -> Address:
        """The mailbox that is asked for, by default the visitor's own. Raises HTTPProblem."""
        own = self.visitor.account
        if name is None:
            if own is None:
                raise HTTPProblem(422, 'The query needs "mailbox".')
            return own
        try:
            address = Address.parse(self.parts.authenticator.normal(name), any_dots=True)
        except AddressError as error:
            raise HTTPProblem(422, f'The query: "mailbox": {error}') from None
        if own is not None and own.key == address.key:
            return own
        if not self.visitor.is_administrator:
            raise HTTPProblem(403, "This is not your mailbox.")
        if not self.parts.has_mailbox(address):
            raise HTTPProblem(404, f"There is no mailbox {address}.")
        return address

    def message(self, text: str) -> MessageId:
        """A message by its id. Raises HTTPProblem, 404, also for those of other mailboxes."""
        id, own = MessageId.read(text), self.visitor.account
        if not self.visitor.is_administrator and (own is None or own.key != id.mailbox.key):
            raise no_such(text)
        return id
