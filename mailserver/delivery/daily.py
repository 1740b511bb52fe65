"""Sends reports about each day after its end, at a random time in the first hours of the next one."""

import random
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailserver.mail.daily_report import DAY

SPREAD = 4 * 3600.0  # seconds after midnight (UTC), so that a domain does not get all its reports at once


class DailySending:
    """Calls ``send_all`` once a day while it runs."""

    def __init__(self, reactor: IReactorTime, send_all: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._reactor = reactor
        self._send_all = send_all
        self._timer: IDelayedCall | None = None
        self._sending: Deferred[object] | None = None

    def start(self) -> None:
        """Send reports from now on."""
        now = self._reactor.seconds()
        self._timer = self._reactor.callLater(DAY - now % DAY + random.uniform(0, SPREAD), self._begin)

    def stop(self) -> None:
        """Send no more reports."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()

    def _begin(self) -> None:
        self._sending = Deferred.fromCoroutine(self._send_all())
        self._sending.addBoth(self._sent)

    def _sent(self, result: object) -> object:
        if self._sending is None:
            return None  # stopped
        self._sending = None
        self.start()
        return result  # a bug is logged as an unhandled error
