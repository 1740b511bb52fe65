"""The order of new messages for a destination: each sender gets the same share.

The due times of new messages decide the order, and a message is due at once if its time has passed. So each
sender has a clock of its own for a destination, which moves on a little with each recipient. A message gets
the time of this clock, or the due time of the last message that was read for an attempt if the clock is
behind it (start-time fair queueing). A message of one sender then comes next, although another sender has
queued thousands before.
"""

STEP = 1e-6  # seconds for one recipient
LAG = 1.0  # seconds that all clocks are behind at first, so that the steps do not lead into the future
OLDEST = 3600.0  # seconds; messages that wait for their second attempt must get their turn, too
DESTINATIONS = 500
SENDERS = 200  # of a destination


class FairOrder:
    """The clocks of the senders. Its memory is limited. Times are seconds since the epoch."""

    def __init__(self) -> None:
        self._reached: dict[str, float] = {}
        self._clocks: dict[str, dict[str, float]] = {}

    def due(self, destination: str, sender: str, recipients: int, now: float) -> float:
        """The due time of a new message with so many recipients at a destination. It is not after ``now``."""
        reached = self._reached.get(destination)
        if reached is None:
            reached = self._begin(destination, now)
        clocks = self._clocks[destination]
        due = min(max(reached, clocks.get(sender, 0.0), now - OLDEST), now)
        if len(clocks) >= SENDERS and sender not in clocks:
            self._clocks[destination] = clocks = {each: at for each, at in clocks.items() if at > reached}
            if len(clocks) >= SENDERS:
                return due
        clocks[sender] = due + STEP * recipients
        return due

    def _begin(self, destination: str, now: float) -> float:
        if len(self._reached) >= DESTINATIONS:
            self.forget(next(iter(self._reached)))
        self._reached[destination] = now - LAG
        self._clocks[destination] = {}
        return now - LAG

    def reach(self, destination: str, due: float) -> None:
        """A message with this due time is read for an attempt."""
        if due > self._reached.get(destination, due):
            self._reached[destination] = due

    def forget(self, destination: str) -> None:
        """Begin anew with the next message for the destination."""
        self._reached.pop(destination, None)
        self._clocks.pop(destination, None)
