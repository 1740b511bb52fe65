"""The queue: mail that waits for long, or that nobody tries to deliver."""

from collections.abc import Iterator, Sequence

from mailserver.app.data import queue_file
from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.durable.database import Damaged
from mailserver.mail.queued import LOCAL
from mailserver.mail.words import counted
from mailserver.queue.entries import DestinationSummary
from mailserver.queue.sqlite.listing import view

HOUR, DAY = 3600.0, 86400.0  # seconds
MANY = 1000  # recipients
MANY_OF_ONE = 100  # recipients of one destination
LATE = HOUR  # seconds after its time in which an attempt should have begun


def check_queue(it: Installation) -> Iterator[Examined]:
    """The recipients that wait, by destination."""
    path = queue_file(it.data)
    if it.in_memory:
        yield NotChecked("queue", "it is in the memory of the server; see mailserver queue summary")
        return
    if it.config.storage.engine == "postgresql":
        yield NotChecked("queue", "it is in the database; see mailserver queue summary")
        return
    try:
        found = view(path).summary()
    except Damaged:
        return  # the check of the databases reports it
    except OSError as error:
        yield NotChecked("queue", f"{path}: {error.strerror}")
        return
    yield from _all(it, found)
    for one in found:
        yield from _destination(it, one)


def _all(it: Installation, found: Sequence[DestinationSummary]) -> Iterator[DoctorFinding]:
    recipients = sum(one.recipients for one in found)
    if recipients >= MANY:
        text = f"{counted(recipients, 'recipient')} wait: does an account send spam?"
        yield DoctorFinding("queue-long", "queue", text, "mailserver queue summary; mailserver queue list")
    held = sum(one.held for one in found)
    if held:
        text = f"{counted(held, 'recipient')} are held: nothing is tried until somebody releases them"
        mend = "mailserver queue list --state held, then mailserver queue release or remove"
        yield DoctorFinding("queue-held", "queue", text, mend)
    late = [one for one in found if one.next is not None and it.now - one.next > LATE]
    if late and it.server is not None:
        text = f"the time for attempts has passed an hour ago, and none is made: {_names(late)}"
        yield DoctorFinding("queue-stuck", "queue", text, "look into the log, then restart the server")


def _destination(it: Installation, one: DestinationSummary) -> Iterator[DoctorFinding]:
    age, queue = it.now - one.oldest, it.config.queue
    name = _name(one)
    mend = f"mailserver queue list --domain {name}" if one.destination != LOCAL else "mailserver queue list"
    reason = f"; the last attempt: {one.last.text}" if one.last is not None else ""
    if one.recipients == one.held or not one.oldest:
        return
    if age > queue.expire_after + HOUR and it.server is not None:
        text = f"mail waits for {age / DAY:.1f} days, longer than queue.expire_after: nobody gives up{reason}"
        yield DoctorFinding("queue-overdue", name, text, "look into the log, then restart the server")
    elif age > max(queue.warn_after, DAY):
        text = f"the oldest mail waits for {age / HOUR:.0f} hours{reason}"
        yield DoctorFinding("queue-old", name, text, mend)
    if one.recipients >= MANY_OF_ONE and one.last is not None:
        text = f"{counted(one.recipients, 'recipient')} wait{reason}"
        yield DoctorFinding("queue-deferred", name, text, mend)


def _name(one: DestinationSummary) -> str:
    return "mailboxes here" if one.destination == LOCAL else one.destination.partition(":")[2]


def _names(found: Sequence[DestinationSummary]) -> str:
    shown = ", ".join(map(_name, found[:3]))
    return shown if len(found) <= 3 else f"{shown} and {len(found) - 3} more"
