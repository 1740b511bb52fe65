"""Waits for messages: a request that has no answer until a message comes.

A message that this process accepts wakes the waiting requests at once. Those of other workers and other
programs are seen within a second.
"""

from mailserver.http.exchange import HTTPAnswer, HTTPProblem
from mailserver.http.routes import HTTPCall
from mailserver.interfaces import IMailboxView
from mailserver.mail.address import Address
from mailserver.web.context import ApiContext
from mailserver.web.mailboxes import FoundMessage
from mailserver.web.search import MessageQuery
from mailserver.web.views import summary_view

EVERY = 1.0  # seconds
KNOWN = 1000  # unique-ids that are remembered of a mailbox


async def wait_for_message(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Wait for a message that matches, and show it as in a list; 404 if none comes in time."""
    mailbox = context.mailbox(call.query.get("mailbox"))
    timeout = call.query.get("timeout", 30.0)
    known = await _known(context, mailbox, call.query.get("after"))
    found = await _wait(context, mailbox, MessageQuery.of(call.query), known, timeout)
    if found is None:
        raise HTTPProblem(404, f"No such message came within {timeout:g} seconds.")
    return HTTPAnswer.of(summary_view(found))


async def _known(context: ApiContext, mailbox: Address, after: str | None) -> frozenset[str]:
    """The unique-id of the message that the wanted ones come behind."""
    if after is None:
        return frozenset()
    id = context.message(after)
    if id.mailbox.key != mailbox.key:
        raise HTTPProblem(422, 'The query: "after": expected a message of this mailbox')
    await context.parts.reader.find(id)
    return frozenset([id.uid])


async def _wait(
    context: ApiContext, mailbox: Address, query: MessageQuery, known: frozenset[str], timeout: float
) -> FoundMessage | None:
    reader, reactor, arrivals = context.parts.reader, context.parts.reactor, context.parts.arrivals
    end = reactor.seconds() + timeout
    while True:
        view: IMailboxView = await reader.browse(mailbox)
        begin = ""
        while True:
            page = await reader.page(mailbox, query, begin, 1, known)
            if page.messages:
                return page.messages[0]
            if not page.following:
                break
            begin = page.following
        count = len(view.messages)
        # A message that has come meanwhile is not among these.
        known = frozenset(view.messages.uids(max(0, count - KNOWN), count)) or known
        left = end - reactor.seconds()
        if arrivals.stopped:
            raise HTTPProblem(503, "The server stops.", {"Retry-After": "5"})
        if left <= 0:
            return None
        await arrivals.wait(min(left, EVERY))
