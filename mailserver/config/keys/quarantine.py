"""The section [quarantine]: messages that are kept aside."""

import attrs

from mailserver.config.schema.scalars import Duration
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class QuarantineSection:
    """The messages that a check has kept aside."""

    expire_after: float = key(
        Duration(),
        "Time after which a message is removed from the quarantine if nobody has released it. It may take "
        'some hours longer. "0s" keeps all messages.',
        default="30d",
    )
