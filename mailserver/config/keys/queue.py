"""The section [queue]."""

import attrs

from mailserver.config.schema.kinds import ListOf
from mailserver.config.schema.scalars import Duration
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class QueueSection:
    """Mail that could not go out at once."""

    retry: tuple[float, ...] = key(
        ListOf(Duration("1ms")),
        "The time from each attempt to the next; the last one is for all that follow.",
        default=["5m", "15m", "30m", "1h", "2h", "4h"],
    )
    warn_after: float = key(Duration(), "Send a delay notification after this time.", default="4h")
    expire_after: float = key(Duration("1ms"), "Give up and send a bounce after this time.", default="5d")
