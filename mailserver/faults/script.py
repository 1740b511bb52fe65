"""What the sessions of one protocol of a server share: their rules and capabilities."""

from collections.abc import Callable

import attrs

from mailserver.faults.capabilities import Capabilities
from mailserver.faults.rules import Rules

Restyle = Callable[[str, bytes], bytes]
"""Changes the texts of a reply, given its moment and its octets."""


@attrs.define(eq=False)
class Script:
    """``now`` returns the seconds since the epoch. ``count`` is the number of sessions so far."""

    protocol: str
    rules: Rules
    capabilities: Capabilities
    now: Callable[[], float]
    restyle: Restyle | None = None
    count: int = 0
