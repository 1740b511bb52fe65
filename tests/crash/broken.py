"""A server that is broken on purpose in what it does with mail for other servers: a control for each rule.

As a program, ``python -m tests.crash.broken NAME``, it is ``python -m twisted`` with such a server.
"""

import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from twisted.internet.defer import succeed

from mailserver.mail import outcome
from mailserver.mail.queued import LOCAL
from mailserver.queue.attempts import Attempts
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.reports import Reports
from mailserver.queue.spool import Spool

# Of messages with a file, the content would be gone too early: another bug, which is easier to find.
_deliver, _send, _accept, _record = Attempts.deliver, Reports._send, Spool.accept, Spool.record_attempt


async def _record_first(self: Attempts, destination: str, queued: Any, *rest: Any) -> Any:
    """The record is made before the other server has answered."""
    if destination != LOCAL and isinstance(queued.message.content, InMemoryContent):
        await self._spool.record_attempt(queued.message, (), queued.recipients)
    return await _deliver(self, destination, queued, *rest)


def _no_record(self: Spool, message: Any, left: Any, gone: Sequence[Any]) -> Any:
    """Whom the other server has accepted stays in the queue."""
    return succeed(None) if gone and not left else _record(self, message, left, gone)


def _report_alone(self: Spool, content: Any, envelope: Any, *rest: Any, **more: Any) -> Any:
    """A report is stored, and whom it is about stays in the queue."""
    return _accept(self, content, envelope, *rest[:2], **more)


async def _removal_alone(self: Reports, message: Any, reverse_path: str, reported: Any, recorded: Any) -> Any:
    """Whom a report is about leaves the queue before the report is stored."""
    if recorded is not None and isinstance(message.content, InMemoryContent):
        await _record(self._spool, message, recorded.left, recorded.gone)
        recorded = None
    return await _send(self, message, reverse_path, reported, recorded)


async def _bounce_uncertain(self: Attempts, destination: str, queued: Any, *rest: Any) -> Any:
    """A lost answer is taken for a refusal."""
    return {
        each: outcome.Failed(one.status, one.text)
        if isinstance(one, outcome.Deferred) and one.status.subject == 4
        else one
        for each, one in (await _deliver(self, destination, queued, *rest)).items()
    }


BROKEN: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "record-first": (Attempts, "deliver", _record_first),
    "no-record": (Spool, "record_attempt", _no_record),
    "report-alone": (Spool, "accept", _report_alone),
    "removal-alone": (Reports, "_send", _removal_alone),
    "bounce-uncertain": (Attempts, "deliver", _bounce_uncertain),
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Break what is built in this process, unless the name is that of another control."""
    if name not in BROKEN:
        yield
        return
    owner, attribute, spoilt = BROKEN[name]
    with mock.patch.object(owner, attribute, spoilt):
        yield


if __name__ == "__main__":
    with broken(sys.argv.pop(1)):
        runpy.run_module("twisted", run_name="__main__", alter_sys=True)
