"""A reactor for tests: a clock that the test moves, and threads that run when the test says so."""

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure


class FakeReactor(Clock):
    """``held``: work for threads waits for :meth:`run_threads`; otherwise it is done at once."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__()
        self.held = held
        self._work: list[Callable[[], None]] = []

    def getThreadPool(self) -> "FakeReactor":
        return self

    def callFromThread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    def callInThreadWithCallback(
        self,
        on_result: Callable[[bool, Any], None],
        function: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        def work() -> None:
            try:
                result = function(*args, **kwargs)
            except Exception:  # noqa: BLE001 - it is handed on as a Failure
                on_result(False, Failure())
            else:
                on_result(True, result)

        if self.held:
            self._work.append(work)
        else:
            work()

    def run_threads(self) -> None:
        """Do the work that waits."""
        work, self._work = self._work, []
        for one in work:
            one()
