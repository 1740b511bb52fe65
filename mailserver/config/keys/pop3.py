"""The section [pop3]: how users fetch their mail."""

import attrs

from mailserver.config.keys.auth import PLAINTEXT_AUTH, PLAINTEXT_AUTH_DOC, PlaintextAuth
from mailserver.config.schema.scalars import Duration
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class Pop3Section:
    """The options of POP3 sessions."""

    plaintext_auth: PlaintextAuth = key(PLAINTEXT_AUTH, PLAINTEXT_AUTH_DOC, default=False)
    login_delay: float = key(
        Duration(),
        "Minimum time between two logins to one mailbox (RFC 2449 section 6.5).",
        default="0s",
    )
    command_timeout: float = key(
        Duration("10m"),
        "Time limit for a command. RFC 1939 section 3 requires at least ten minutes.",
        default="11m",
    )
