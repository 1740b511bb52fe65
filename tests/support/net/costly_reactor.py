"""A reactor whose clock is driven by work: each look at it costs time. So slices are counted, not timed."""

from typing import Any

from tests.support.reactor import FakeReactor

COST = 0.00002  # seconds


class CostlyReactor(FakeReactor):
    """``turn`` is one round: what was to be called before it, and not what that asks for."""

    def seconds(self) -> float:
        self.rightNow += COST
        return self.rightNow

    def turn(self) -> None:
        due: list[Any] = [call for call in self.getDelayedCalls() if call.getTime() <= self.rightNow]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
