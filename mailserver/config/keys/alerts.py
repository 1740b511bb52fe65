"""The section [alerts]: what the server tells the administrator by itself."""

import attrs

from mailserver.config.schema.kinds import Secret
from mailserver.config.schema.mail_kinds import WEBHOOK
from mailserver.config.schema.scalars import Boolean, Duration
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class AlertsSection:
    """Alerts: an account exceeds its sending limits, or somebody guesses the password of an account."""

    mail: bool = key(Boolean(), "Alerts by mail to the postmaster.", default=True)
    webhook: Secret | None = key(
        WEBHOOK,
        "URL that gets each alert by POST, as a JSON object with the members kind, subject, text, hostname "
        'and time; "" for none. It is a secret, as it often has a token.',
        default="",
        example="https://hooks.example/mail?token=abc",
    )
    interval: float = key(
        Duration(),
        "Time after an alert during which the same one about the same account or client is not repeated.",
        default="1h",
    )
    hold: bool = key(
        Boolean(),
        "Hold of the waiting mail of an account that exceeds limits.messages_per_account or "
        "limits.recipients_per_account: it stays in the queue until `mailserver queue release`.",
        default=False,
    )
