"""What the administrator decides about the sessions of a port; times in seconds.

Each connection is made with the terms of that moment, and keeps them.
"""

import attrs

from mailserver.pop3.settings import Settings as POP3Settings
from mailserver.smtp.settings import Settings as SMTPSettings


@attrs.frozen(kw_only=True)
class SMTPTerms:
    """``timeout`` is for a command, ``transaction_timeout`` from MAIL to the end of the message.

    ``own_senders``: who has logged in sends under names of his own alone. ``hide_client`` and
    ``remove_bcc`` are for submission. ``greeting_delay`` is how long a client waits for its greeting,
    and ``refuse_early`` what becomes of one that does not.
    """

    settings: SMTPSettings
    timeout: float = 300.0
    transaction_timeout: float = 7200.0
    greeting_delay: float = 0.0
    refuse_early: bool = False
    own_senders: bool = True
    hide_client: bool = False
    remove_bcc: bool = False


@attrs.frozen(kw_only=True)
class POP3Terms:
    """``timeout`` is for a command, ``login_delay`` from one login to a maildrop to the next."""

    settings: POP3Settings
    timeout: float = 660.0
    login_delay: float = 0.0
