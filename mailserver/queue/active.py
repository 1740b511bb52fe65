"""The destinations of the queue with attempts in progress, as the runner keeps them in memory."""

from collections import deque
from collections.abc import Container

import attrs

from mailserver.queue.entries import Queued

Loaded = tuple[int, Queued | Exception]
"""The number of a message, with the message or the error of reading it."""


@attrs.define(eq=False)
class ActiveDestination:
    """A destination with a turn or attempts in progress.

    ``proven``: it has answered recently. ``running`` is the number of its attempts, with those that a
    turn may start. ``loaded`` has messages that are read and not yet tried. ``busy`` has the numbers of
    these, of the messages that are being tried, and of those that rest after an error of this server.
    ``more``: other messages are due. ``changed``: what was read from the spool may have changed since.
    """

    name: str
    proven: bool
    running: int = 0
    loaded: deque[Loaded] = attrs.field(factory=deque)
    busy: set[int] = attrs.field(factory=set)
    more: bool = False
    changed: bool = False

    def unload(self, seqs: Container[int]) -> None:
        """Forget these messages, unless an attempt for them has begun: they are read again."""
        self.changed = True
        kept: deque[Loaded] = deque()
        for each in self.loaded:
            if each[0] in seqs:
                self.busy.discard(each[0])
                self.more = True
            else:
                kept.append(each)
        self.loaded = kept
