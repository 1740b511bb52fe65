"""What the requests do that concern messages, mailboxes and sessions. Those that wait do not block."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from mailserver.errors import AddressError
from mailserver.http.exchange import OCTETS, HTTPAnswer, HTTPProblem
from mailserver.http.routes import HTTPCall
from mailserver.mail.address import Address
from mailserver.testing.asynchronous import TwistedWaker, look_for
from mailserver.testing.http.served import ServedMailServer
from mailserver.testing.http.views import message_view, message_views, session_view, transcript_view
from mailserver.testing.matching import Match
from mailserver.testing.message import CODE
from mailserver.testing.searches import Search, a_message, a_session, found_messages, so_many_messages
from mailserver.testing.server import TIMEOUT
from mailserver.testing.sessions import Session

T = TypeVar("T")

REGEX = "_regex"


def conditions(served: ServedMailServer, query: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions for messages among the parameters of a query."""
    keys = ("to", "sender", "mailbox", "subject", "text")
    found = {key: query[key] for key in keys if key in query}
    for key in keys:
        if f"{key}{REGEX}" in query:
            if key in found:
                raise HTTPProblem(422, f'"{key}" and "{key}{REGEX}" exclude each other.')
            found[key] = query[f"{key}{REGEX}"]
    if "after" in query:
        found["after"] = served.message(query["after"])
    return found


async def _wait(served: ServedMailServer, search: Search[T], timeout: float) -> T | None:
    return await look_for(search, timeout, TwistedWaker(served.server.thread.reactor))


def _missing(search: Search[Any], timeout: float) -> HTTPProblem:
    return HTTPProblem(
        404, f"There is {search.missing()} within {timeout:g} s.", report=search.inbox.report()
    )


# ---------------------------------------------------------------- messages


async def list_messages(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The messages that match, in mailboxes and relayed ones."""
    match = Match.of(**conditions(served, call.query))
    return HTTPAnswer.of(message_views(served, found_messages(served.server.inbox, match)))


async def wait_for_message(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Wait for the first message that matches: the same one if the client sends the request again."""
    search = a_message(served.server.inbox, conditions(served, call.query))
    timeout = call.query.get("timeout", TIMEOUT)
    if (found := await _wait(served, search, timeout)) is None:
        raise _missing(search, timeout)
    return HTTPAnswer.of(message_view(served, found))


async def wait_for_messages(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Wait for a number of messages. It is a problem, too, if there are more."""
    search = so_many_messages(served.server.inbox, call.query["count"], conditions(served, call.query))
    timeout = call.query.get("timeout", TIMEOUT)
    if (found := await _wait(served, search, timeout)) is None:
        raise HTTPProblem(
            404, f"There are {search.missing()} within {timeout:g} s.", report=search.inbox.report()
        )
    if len(found) > call.query["count"]:
        raise HTTPProblem(409, f"There are too many: {search.missing()}.", report=search.inbox.report())
    return HTTPAnswer.of(message_views(served, found))


async def expect_no_message(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Check that no message matches, now and for some seconds."""
    search = a_message(served.server.inbox, conditions(served, call.query))
    if (found := await _wait(served, search, call.query.get("within", 0.0))) is not None:
        raise HTTPProblem(
            409, f"There is a message that matches: {found.summary()}.", report=search.inbox.report()
        )
    return HTTPAnswer()


async def deliver(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Put a message straight into a mailbox."""
    try:
        message = served.server.deliver(call.octets.read(), call.query["to"])
    except AddressError as error:
        raise HTTPProblem(422, f'"to": {error}') from None
    ids = served.ids()
    return HTTPAnswer.of(message_view(served, message, ids), 201)


async def show_message(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """One message."""
    return HTTPAnswer.of(message_view(served, served.message(call.path["message"])))


async def raw_message(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The octets of a message."""
    return HTTPAnswer(200, served.message(call.path["message"]).raw, "message/rfc822")


async def attachment(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The octets of an attachment. A browser saves them, and never runs them."""
    found = served.message(call.path["message"]).attachments
    number = call.path["number"]
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= len(found)):
        raise HTTPProblem(404, f"There is no attachment {number}; the message has {len(found)}.")
    return HTTPAnswer(200, found[int(number) - 1].data, OCTETS)


async def link(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The one link that contains a text."""
    message = served.message(call.path["message"])
    try:
        return HTTPAnswer.of({"link": message.link(call.query["part"])})
    except AssertionError as error:
        raise HTTPProblem(404, f"{error}") from None


async def code(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The one code in the text."""
    message = served.message(call.path["message"])
    try:
        return HTTPAnswer.of({"code": message.code(call.query.get("pattern", re.compile(CODE)))})
    except AssertionError as error:
        raise HTTPProblem(404, f"{error}") from None


async def vanish(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Remove a message from its mailbox, as another program would."""
    message = served.message(call.path["message"])
    if not message.mailbox:
        raise HTTPProblem(409, "The message was relayed; it is in no mailbox.")
    served.server.vanish(message)
    return HTTPAnswer()


# ---------------------------------------------------------------- mailboxes, the outbox


async def list_mailboxes(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The ids of the messages that are in the mailboxes now."""
    ids = served.ids()
    boxes = [
        {"address": address, "messages": [ids[id(each)] for each in messages]}
        for address, messages in served.server.mailboxes.items()
    ]
    return HTTPAnswer.of({"mailboxes": boxes})


async def reset_uidls(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Give all messages of a mailbox new unique-ids."""
    try:
        address = Address.parse(call.path["mailbox"])
    except AddressError as error:
        raise HTTPProblem(422, f"The mailbox: {error}") from None
    served.server.reset_uidls(str(address))
    return HTTPAnswer()


async def outbox(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The messages that were relayed."""
    return HTTPAnswer.of(message_views(served, served.server.outbox))


# ---------------------------------------------------------------- sessions


async def list_sessions(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """All sessions that match."""
    chosen = [
        each
        for each in served.server.sessions
        if all(getattr(each, name) == value for name, value in call.query.items())
    ]
    return HTTPAnswer.of({"sessions": [session_view(each) for each in chosen]})


async def wait_for_session(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Wait for a session, and for its end if nothing else is asked for."""
    named = {"closed": True, **call.query}
    timeout = named.pop("timeout", TIMEOUT)
    search: Search[Session] = a_session(served.server.inbox, **named)
    if (found := await _wait(served, search, timeout)) is None:
        raise _missing(search, timeout)
    return HTTPAnswer.of(session_view(found))


async def show_session(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """One session."""
    return HTTPAnswer.of(session_view(served.session(call.path["session"])))


async def transcript(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """What each side of a session has sent."""
    return HTTPAnswer.of(transcript_view(served.session(call.path["session"])))


async def dialogue(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The same, for people."""
    return HTTPAnswer.text(served.session(call.path["session"]).transcript.dialogue())
