"""The commands about the queue. They only read."""

from collections.abc import Callable, Mapping

from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.errors import one_line
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.show import message, queue


def _queue_list(spool: ISpoolView, request: Request) -> CommandOutcome:
    return CommandOutcome(tuple(map(one_line, queue(spool))))


def _queue_show(spool: ISpoolView, request: Request) -> CommandOutcome:
    lines = tuple(map(one_line, message(spool, str(request.get("id")))))
    if not lines:
        raise CommandFailed(f"no message {request.get('id')} is in the queue")
    return CommandOutcome(lines)


QUEUE_COMMANDS: Mapping[str, Callable[[ISpoolView, Request], CommandOutcome]] = {
    "queue list": _queue_list,
    "queue show": _queue_show,
}
"""The commands by name; the request has their arguments."""
