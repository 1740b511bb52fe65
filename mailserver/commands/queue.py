"""The commands about the queue.

A reply has a limited number of messages. ``more`` in the outcome then says where the next request goes on.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping

import attrs

from mailserver.commands.account_admin import text_in
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.errors import AddressError, one_line
from mailserver.mail.address import parse_domain
from mailserver.mail.words import counted
from mailserver.queue.administration import ACTIONS, Progress, QueueAdministration
from mailserver.queue.entries import Listed
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.selection import STATES, Selection
from mailserver.queue.show import (
    detail_lines,
    detail_object,
    message_lines,
    message_object,
    summary_line,
    summary_object,
)

PAGE = 500  # messages


def _queue_list(spool: ISpoolView, request: Request) -> CommandOutcome:
    selection, before, now = selection_in(request), _progress_in(request), time.time()
    assert before.after is not None
    page = spool.page(selection, before.after, PAGE)
    chosen = [one for each in page if (one := selection.chosen(each, now)) is not None]
    messages = before.messages + len(chosen)
    recipients = before.recipients + sum(len(one.recipients) for one in chosen)
    as_json = request.get("json") is True
    lines = _objects(chosen, now) if as_json else map(one_line, _lines(chosen, now))
    if page:
        last = page[-1].seq
        assert isinstance(last, int)
        return CommandOutcome(tuple(lines), more=attrs.asdict(Progress(last, 0, messages, recipients)))
    total = f"{counted(messages, 'message')}, {counted(recipients, 'recipient')} waiting"
    return CommandOutcome(() if as_json else (total,))


def _lines(messages: list[Listed], now: float) -> Iterator[str]:
    for one in messages:
        yield from message_lines(one, now)


def _objects(messages: list[Listed], now: float) -> Iterator[str]:
    return (json.dumps(message_object(one, now)) for one in messages)


def _queue_show(spool: ISpoolView, request: Request) -> CommandOutcome:
    found, now = spool.find(text_in(request, "id")), time.time()
    if not found:
        raise CommandFailed(f"no message {request.get('id')} is in the queue")
    if request.get("json") is True:
        return CommandOutcome(tuple(json.dumps(detail_object(one, now)) for one in found))
    return CommandOutcome(tuple(one_line(line) for one in found for line in detail_lines(one, now)))


def _queue_summary(spool: ISpoolView, request: Request) -> CommandOutcome:
    found = spool.summary()
    if request.get("json") is True:
        return CommandOutcome(tuple(json.dumps(summary_object(one)) for one in found))
    recipients = sum(one.recipients for one in found)
    total = f"{counted(len(found), 'destination')}, {counted(recipients, 'recipient')} waiting"
    return CommandOutcome((*(one_line(summary_line(one)) for one in found), total))


QUEUE_COMMANDS: Mapping[str, Callable[[ISpoolView, Request], CommandOutcome]] = {
    "queue list": _queue_list,
    "queue show": _queue_show,
    "queue summary": _queue_summary,
}
"""The commands that only read, by name; the request has their arguments."""

QUEUE_CHANGES: Mapping[str, str] = {f"queue {action}": action for action in ACTIONS}
"""The actions of the commands that change the queue, by name."""

_DONE = {
    "retry": "retrying now",
    "hold": "held",
    "release": "released, retrying now",
    "remove": "removed",
    "expire": "expired",
}


async def change_queue(queue: QueueAdministration, request: Request) -> CommandOutcome:
    """Make the change of the request for the next messages; the last outcome has the line that sums up."""
    action = QUEUE_CHANGES[str(request["command"])]
    done = await queue.apply(action, selection_in(request), _progress_in(request))
    if done.after is not None:
        return CommandOutcome((), more=attrs.asdict(done))
    if not done.recipients and not done.busy:
        raise CommandFailed("no recipient in the queue meets the conditions")
    where = f"{counted(done.recipients, 'recipient')} of {counted(done.messages, 'message')}"
    lines = [f"{where}: {_DONE[action]}"]
    if done.busy:
        lines.append(f"{counted(done.busy, 'recipient')} left alone: an attempt is in progress; try again")
    return CommandOutcome(tuple(lines), status=1 if done.busy else 0)


# ------------------------------------------------------------ requests


def selection_in(request: Request) -> Selection:
    """The selection in a request. Raises :class:`~mailserver.control.channel.CommandFailed`."""
    ids, state, sender = request.get("ids") or [], request.get("state") or "", request.get("sender")
    recipient, domain = request.get("recipient") or "", request.get("domain") or ""
    if (
        not isinstance(ids, list)
        or not all(isinstance(one, str) for one in ids)
        or not isinstance(recipient, str)
        or not isinstance(domain, str)
        or not isinstance(sender, str | None)
        or state not in ("", *STATES)
    ):
        raise CommandFailed("the request has malformed conditions")
    try:
        domain = parse_domain(domain) if domain else ""
    except AddressError as error:
        raise CommandFailed(f"invalid domain: {error}") from None
    return Selection(tuple(ids), recipient, domain, sender, (str(state),) if state else ())


def _progress_in(request: Request) -> Progress:
    """Where the work of the last request ended."""
    more = request.get("more")
    if more is None:
        return Progress()
    names = {field.name for field in attrs.fields(Progress)}
    if (
        not isinstance(more, dict)
        or set(more) != names
        or not all(type(each) is int for each in more.values())
    ):
        raise CommandFailed("the request has a malformed position")
    return Progress(**more)
