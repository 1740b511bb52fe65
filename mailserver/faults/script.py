"""What the sessions of one protocol of a server share: their rules and capabilities."""

from collections.abc import Callable, Iterable

import attrs

from mailserver.faults.capabilities import Capabilities
from mailserver.faults.names import CAPABILITIES, hint
from mailserver.faults.restyle import Restyler
from mailserver.faults.rules import Rules
from mailserver.mail.ids import new_id


@attrs.define(eq=False)
class Script:
    """``now`` returns the seconds since the epoch. ``restyle`` gives the replies the look of another server.
    ``count`` is the number of sessions so far. ``new_id`` returns the id of the next one.
    """

    protocol: str
    rules: Rules
    capabilities: Capabilities
    now: Callable[[], float]
    restyle: Restyler | None = None
    count: int = 0
    new_id: Callable[[], str] = new_id

    @property
    def own_names(self) -> frozenset[str]:
        """The names that a test has invented."""
        return frozenset(line.split()[0].upper() for line in self.capabilities.invented if line.strip())

    def hide(self, names: Iterable[str]) -> None:
        """Do not show these capabilities. Raises ValueError for one that the server never shows."""
        shown = CAPABILITIES[self.protocol] | self.own_names
        if self.restyle is not None:
            shown |= self.restyle.keywords
        wanted = {name.upper() for name in names}
        for name in sorted(wanted - shown):
            raise ValueError(f'{self.protocol} has no capability "{name}"; {hint(name, shown)}')
        self.capabilities.hidden |= wanted
