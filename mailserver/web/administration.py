"""The requests of administrators: accounts, the queue, the journal of messages.

Each is one of the commands of ``mailserver``: the same function performs it.
"""

import json
from collections.abc import Mapping
from typing import Any

from mailserver.control.channel import CommandOutcome
from mailserver.errors import MailserverError, StorageError, one_line
from mailserver.http.exchange import HTTPAnswer, HTTPProblem
from mailserver.http.routes import HTTPCall
from mailserver.web.context import ApiContext
from mailserver.web.mailboxes import from_word, word

MOST_ROUNDS = 10_000  # requests that one change of the queue takes


async def _perform(context: ApiContext, name: str, **arguments: Any) -> CommandOutcome:
    """Perform a command. Raises HTTPProblem, 409 if the command fails, and StorageError."""
    try:
        outcome = context.parts.commands()[name]({"command": name, **arguments})
        if not isinstance(outcome, CommandOutcome):
            outcome = await outcome
    except StorageError:
        raise
    except MailserverError as error:
        raise HTTPProblem(409, one_line(str(error))) from None
    return outcome


def _objects(outcome: CommandOutcome) -> list[Any]:
    return [json.loads(line) for line in outcome.lines]


def _done(outcome: CommandOutcome) -> HTTPAnswer:
    text = "; ".join(outcome.lines)
    if outcome.status:
        raise HTTPProblem(409, text)
    return HTTPAnswer.of({"done": text})


# ------------------------------------------------------------ accounts


async def list_accounts(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """All accounts."""
    return HTTPAnswer.of({"accounts": _objects(await _perform(context, "account list", json=True))})


async def add_account(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Add an account; without a password nobody can log in to it."""
    return await _change_account(context, "account add", call.body["address"], call.body.get("password"))


async def remove_account(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Remove an account; its mailbox stays on the disk."""
    return await _change_account(context, "account remove", call.path["account"])


async def set_password(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Give an account another password."""
    return await _change_account(context, "account passwd", call.path["account"], call.body["password"])


async def _change_account(
    context: ApiContext, name: str, address: str, password: str | None = None
) -> HTTPAnswer:
    context.report_change(f"{name} {one_line(address)}")
    given = {} if password is None else {"password": password}
    return _done(await _perform(context, name, address=address, **given))


# ------------------------------------------------------------ the queue


async def list_queue(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """The messages that wait, and their recipients."""
    query = dict(call.query)
    more = _position(query.pop("cursor", ""))
    outcome = await _perform(context, "queue list", json=True, more=more, **query)
    following = word(json.dumps(outcome.more)) if outcome.more is not None else None
    return HTTPAnswer.of({"messages": _objects(outcome), "next": following})


def _position(cursor: str) -> Any:
    if not cursor:
        return None
    try:
        return json.loads(from_word(cursor))
    except (ValueError, RecursionError):
        raise HTTPProblem(422, 'The query: "cursor": expected the value "next" of an answer') from None


async def show_queued(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """A message that waits, with its header."""
    try:
        outcome = await _perform(context, "queue show", id=call.path["queued"], json=True)
    except HTTPProblem as problem:
        raise HTTPProblem(404, problem.detail) from None
    return HTTPAnswer.of({"messages": _objects(outcome)})


async def retry_queued(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Try again now."""
    return await _change_queue(context, "queue retry", call.path)


async def hold_queued(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Make no attempts until it is released."""
    return await _change_queue(context, "queue hold", call.path)


async def release_queued(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Release a held message, and try again now."""
    return await _change_queue(context, "queue release", call.path)


async def remove_queued(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Remove a message from the queue, without a bounce."""
    return await _change_queue(context, "queue remove", call.path)


async def _change_queue(context: ApiContext, name: str, path: Mapping[str, str]) -> HTTPAnswer:
    id_ = path["queued"]
    context.report_change(f"{name} {one_line(id_)}")
    outcome = await _perform(context, name, ids=[id_])
    for _ in range(MOST_ROUNDS):
        if outcome.more is None:
            return _done(outcome)
        outcome = await _perform(context, name, ids=[id_], more=outcome.more)
    raise HTTPProblem(503, "The queue is too long; try again later.")


# ------------------------------------------------------------ events, health


async def list_events(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """The last events of messages, or those of one message or one address, from the journal."""
    try:
        outcome = await _perform(context, "trace", json=True, last=100, **call.query)
    except HTTPProblem as problem:
        raise HTTPProblem(404, problem.detail) from None
    return HTTPAnswer.of({"events": _objects(outcome)})


async def show_health(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Whether the server accepts mail, and the reason if it does not."""
    problem = await context.parts.problem()
    return HTTPAnswer.of({"accepts_mail": not problem, "problem": problem})
