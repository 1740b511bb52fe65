"""Output of ``mailserver queue``: a list of all messages, or one message in detail."""

import time
from collections.abc import Iterator

from mailserver.errors import MessageDamaged
from mailserver.mail.report import header_of
from mailserver.mail.words import counted
from mailserver.queue.entries import Listed
from mailserver.queue.interfaces import ISpoolView


def queue(spool: ISpoolView) -> Iterator[str]:
    """A line for each message and each waiting recipient, then a summary."""
    messages = recipients = 0
    for one in spool.listing():
        messages += 1
        recipients += len(one.recipients)
        state = "" if one.recipients else ", delivered, not yet synced"
        yield f"{one.id}  {_when(one.received)}  {one.octets} octets  from <{one.reverse_path}>{state}"
        yield from waiting(one)
    yield f"{counted(messages, 'message')}, {counted(recipients, 'recipient')} waiting"


def message(spool: ISpoolView, id_: str) -> Iterator[str]:
    """The details of the message with this id, then its header; nothing if there is none."""
    for shown in spool.find(id_):
        yield f"id: {id_}"
        yield f"received: {_when(shown.listed.received)}"
        yield f"reverse-path: <{shown.listed.reverse_path}>"
        yield f"size: {shown.listed.octets} octets"
        yield from (f"delivered, not yet synced: {mailbox}" for mailbox in shown.unsynced)
        if shown.damage:
            yield f"damaged: {shown.damage}"
        yield from waiting(shown.listed)
        if shown.content is not None:
            try:
                header = header_of(shown.content.chunks())
            except (MessageDamaged, OSError) as error:
                yield f"damaged: {error}"
            else:
                yield ""
                yield from header.decode("utf-8", "replace").splitlines()


def waiting(listed: Listed) -> Iterator[str]:
    """A line for each waiting recipient of a message."""
    for each in listed.recipients:
        name = each.recipient if each.recipient == each.address else f"{each.recipient} ({each.address})"
        yield f"    waiting: {name}: {each.error}; {_attempts(each.attempts)}, next {_when(each.next)}"


def _attempts(number: object) -> str:
    return counted(number, "attempt") if isinstance(number, int) else f"{number!r} attempts (damaged)"


def _when(seconds: object) -> str:
    try:
        assert isinstance(seconds, float)
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (AssertionError, OverflowError, ValueError, OSError):
        return f"{seconds!r} (damaged)"
