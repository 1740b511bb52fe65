"""``mailserver trace``: shows the events of messages, and the recipients that wait."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from mailserver.commands.account_admin import text_in
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.errors import one_line, storage_error
from mailserver.logs.trace import Record, recent, sentence, trace
from mailserver.mail.words import counted
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.show import waiting

TRACE = "trace"
LAST = 20  # messages


def trace_command(folder: Path, spool: ISpoolView, request: Request) -> CommandOutcome:
    """Show the messages of the request from the journal in ``folder``, or the last events as JSON. Blocks."""
    last = request.get("last", LAST)
    last = last if isinstance(last, int) and last > 0 else LAST
    try:
        if request.get("json") is True and request.get("what") is None:
            return CommandOutcome(tuple(map(_json, recent(folder, last))))
        what = text_in(request, "what")
        found = trace(folder, what, last)
    except OSError as error:
        raise storage_error(error) from error
    if not found.messages:
        raise CommandFailed(f"no event of {what} is in the journal")
    lines: list[str] = []
    if request.get("json") is True:
        lines += (_json(record) for message in found.messages for record in message.records)
        return CommandOutcome(tuple(lines))
    if found.older:
        lines.append(f"{counted(found.older, 'older message')} not shown; see --last")
    for message in found.messages:
        lines.append(message.id)
        lines += (f"    {_when(record)} {one_line(sentence(record))}" for record in message.records)
        lines += map(one_line, _still_waiting(spool, message.id))
    return CommandOutcome(tuple(lines))


def _still_waiting(spool: ISpoolView, id_: str) -> Iterator[str]:
    for shown in spool.find(id_):
        yield from waiting(shown.listed, time.time())


def _when(record: Record) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record["time"]))


def _json(record: Record) -> str:
    """A record in the form of a line of the log in JSON, without its level."""
    second, micro = divmod(int(record["time"] * 1e6), 1_000_000)
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    fields = {name: value for name, value in record.items() if name not in ("time", "event")}
    return json.dumps(
        {
            "time": f"{when}.{micro:06}Z",
            "namespace": f"mailserver.{record.get('event')}",
            "event": f"{record['id']}: {one_line(sentence(record))}",
            **fields,
        }
    )
