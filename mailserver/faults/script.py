"""What the sessions of one protocol of a server share: their rules and capabilities."""

from collections.abc import Callable

import attrs

from mailserver.faults.capabilities import Capabilities
from mailserver.faults.restyle import Restyler
from mailserver.faults.rules import Rules


@attrs.define(eq=False)
class Script:
    """``now`` returns the seconds since the epoch. ``restyle`` gives the replies the look of another server.
    ``count`` is the number of sessions so far.
    """

    protocol: str
    rules: Rules
    capabilities: Capabilities
    now: Callable[[], float]
    restyle: Restyler | None = None
    count: int = 0
