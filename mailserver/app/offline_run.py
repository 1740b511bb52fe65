"""Runs a command that needs the spool and a reactor, while no server runs."""

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.app.build import make_parts
from mailserver.app.configuration import without_listeners
from mailserver.app.service import Parts
from mailserver.config.loader import load
from mailserver.control.channel import CommandFailed, CommandOutcome
from mailserver.interfaces import IReactor

OfflineWork = Callable[[Parts], Coroutine[Deferred[Any], Any, CommandOutcome]]


class OfflineRun:
    """One request. The parts that ``work`` uses are open, but nothing listens and no attempts are made.

    The constructor reads what only root may read. The call needs the lock of the data directory, and a
    reactor that has not run yet.
    """

    def __init__(self, path: Path, work: OfflineWork) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._parts: Parts = make_parts(
            cast(IReactor, reactor), path, lambda: without_listeners(load(path, os.environ))
        )
        self._work = work
        self._outcome: CommandOutcome | Failure | None = None
        if self._parts.config.storage.engine == "memory":
            raise CommandFailed('storage.engine is "memory": messages exist only while a server runs')

    def __call__(self) -> CommandOutcome:
        """Do the work. Raises :class:`~mailserver.errors.MailserverError`."""
        self._reactor.callWhenRunning(self._start)
        self._reactor.run(installSignalHandlers=False)
        if isinstance(self._outcome, Failure):
            self._outcome.raiseException()
        assert isinstance(self._outcome, CommandOutcome)
        return self._outcome

    def _start(self) -> None:
        Deferred.fromCoroutine(self._run()).addBoth(self._ended)

    def _ended(self, outcome: CommandOutcome | Failure) -> None:
        self._outcome = outcome
        self._reactor.stop()

    async def _run(self) -> CommandOutcome:
        parts = self._parts
        parts.open()
        try:
            return await self._work(parts)
        finally:
            await parts.close()
