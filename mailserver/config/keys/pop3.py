"""The section [pop3]: how users fetch their mail."""

from typing import Literal

import attrs

from mailserver.config.keys.auth import PLAINTEXT_AUTH, PLAINTEXT_AUTH_DOC, PlaintextAuth
from mailserver.config.schema.scalars import Choice, Duration, RetentionOf
from mailserver.config.schema.tables import key
from mailserver.mail.retention import Retention


@attrs.frozen(kw_only=True)
class Pop3Section:
    """The options of POP3 sessions."""

    plaintext_auth: PlaintextAuth = key(PLAINTEXT_AUTH, PLAINTEXT_AUTH_DOC, default=False)
    login_delay: float = key(
        Duration(),
        "Minimum time between two logins to one mailbox (RFC 2449 section 6.5).",
        default="0s",
    )
    expire: Retention = key(
        RetentionOf(),
        "Time after which messages are removed from mailboxes, counted from their arrival (EXPIRE, RFC 2449 "
        'section 6.7). "0d" removes a message at the end of the session that has retrieved it. An account '
        "may have its own value.",
        default="never",
        example="30d",
    )
    language: Literal["en", "ru"] = key(
        Choice[Literal["en", "ru"]](("en", "ru")),
        "Language that a client gets for `LANG *` (RFC 6856 section 3). Without LANG, all replies are in "
        "English.",
        default="en",
    )
    command_timeout: float = key(
        Duration("10m"),
        "Time limit for a command. RFC 1939 section 3 requires at least ten minutes.",
        default="11m",
    )
