"""The request that removes a message, as durably as by POP3."""

from mailserver.http.exchange import HTTPAnswer, HTTPProblem
from mailserver.http.routes import HTTPCall
from mailserver.interfaces import IMaildrop
from mailserver.web.context import ApiContext
from mailserver.web.mailboxes import MessageId, no_such


async def remove_message(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Remove a message; 409 if a POP3 session has locked the mailbox."""
    # A client that leaves does not stop it half-way.
    await context.parts.start(_remove(context, context.message(call.path["message"])))
    return HTTPAnswer()


async def _remove(context: ApiContext, id: MessageId) -> None:
    maildrop: IMaildrop = await context.parts.maildrops.maildrop(id.mailbox)
    try:
        index = await context.parts.reader.index(maildrop.messages, id.uid)
        if index is None:
            raise no_such(str(id))
        context.report_change(f"remove message {id.uid} of {id.mailbox}")
        if await maildrop.remove([index]):
            raise HTTPProblem(503, "The message could not be removed; see the log of the server.")
    finally:
        maildrop.release()
