"""The section [pop3]."""

import attrs

from mailserver.config.keys.auth import PLAINTEXT_AUTH, PlaintextAuth
from mailserver.config.schema.scalars import Duration
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class Pop3Section:
    """What POP3 sessions may do."""

    plaintext_auth: PlaintextAuth = key(
        PLAINTEXT_AUTH,
        "Whether passwords may come over a connection without TLS: never, from this machine, always.",
        default=False,
    )
    login_delay: float = key(
        Duration(), "The least time between two logins to one mailbox (RFC 2449 section 6.5).", default="0s"
    )
    command_timeout: float = key(
        Duration("10m"),
        "How long a client may take for a command; RFC 1939 section 3 wants at least ten minutes.",
        default="11m",
    )
