"""The section [forward]: mail that an alias forwards to another server."""

import attrs

from mailserver.config.schema.scalars import Boolean
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class ForwardSection:
    """Forwarding."""

    srs: bool = key(
        Boolean(),
        "Rewriting of the reverse-path of forwarded mail to an address in the first of the domains (Sender "
        "Rewriting Scheme, SRS), unless the sender is in one of the domains. Without it, servers that check "
        "SPF reject forwarded mail. The keys are in DATA/srs.keys.",
        default=True,
    )
