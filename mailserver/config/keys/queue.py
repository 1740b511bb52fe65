"""The section [queue]: when delivery is retried, and when the server gives up."""

import attrs

from mailserver.config.schema.kinds import ListOf
from mailserver.config.schema.scalars import Duration, Integer
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class QueueSection:
    """Times of deferred mail."""

    retry: tuple[float, ...] = key(
        ListOf(Duration("1ms")),
        "Times from each delivery attempt to the next one. The last time is repeated.",
        default=["5m", "15m", "30m", "1h", "2h", "4h"],
    )
    warn_after: float = key(
        Duration(),
        "Time after which the sender receives a delay notification.",
        default="4h",
    )
    expire_after: float = key(
        Duration("1ms"),
        "Time after which the server gives up and sends a bounce.",
        default="5d",
    )
    connections: int = key(
        Integer(1),
        "Maximum number of connections to other servers, and of delivery attempts, at a time.",
        default=1000,
    )
    connections_per_destination: int = key(
        Integer(1),
        "Maximum number of connections to one other server at a time.",
        default=20,
    )
