"""What the handlers of the API work with: who asks, and the parts of the server that answer."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred

from mailserver.config.keys.smtp import SmtpSection
from mailserver.control.channel import Command
from mailserver.errors import AddressError
from mailserver.events.base import report
from mailserver.events.web import WebChange
from mailserver.http.exchange import HTTPHead, HTTPProblem
from mailserver.interfaces import IAuthenticator, IMaildrops, IReactor
from mailserver.mail.address import Address
from mailserver.net.limits import Limits
from mailserver.reception.reception import Reception
from mailserver.threads.pool import Threads
from mailserver.web.access import Visitor
from mailserver.web.arrivals import Arrivals
from mailserver.web.mailboxes import MailboxReader, MessageId, no_such

T = TypeVar("T")


class TaskStarter(Protocol):
    """Runs work to its end. See :class:`~mailserver.app.tasks.Tasks`."""

    def __call__(self, steps: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]: ...


@attrs.frozen(kw_only=True)
class ApiParts:
    """The parts of the server that the API uses.

    ``has_mailbox`` says whether an address has a mailbox here. ``domain`` completes addresses. ``start`` runs
    work to its end, even if the client leaves. ``reception`` and ``smtp`` return those in force,
    ``commands`` those of the control channel by name. ``problem`` returns the reason why the server accepts
    no mail, "" if it does.
    """

    reader: MailboxReader
    reactor: IReactor
    threads: Threads
    authenticator: IAuthenticator
    limits: Limits
    maildrops: IMaildrops
    arrivals: Arrivals
    has_mailbox: Callable[[Address], bool]
    domain: str
    start: TaskStarter
    reception: Callable[[], Reception]
    smtp: Callable[[], SmtpSection]
    commands: Callable[[], Mapping[str, Command]]
    problem: Callable[[], Awaitable[str]]


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

    def report_change(self, what: str) -> None:
        """Report that the visitor changes something."""
        visitor = self.visitor
        report(WebChange(account=visitor.name, what=what, client=visitor.client, session=visitor.session))

    def message(self, text: str) -> MessageId:
        """A message by its id. Raises HTTPProblem, 404, also for those of other mailboxes."""
        id, own = MessageId.read(text), self.visitor.account
        if not self.visitor.is_administrator and (own is None or own.key != id.mailbox.key):
            raise no_such(text)
        return id
