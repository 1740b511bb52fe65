"""What steers the sessions of a listener for SMTP or submission."""

import attrs

from mailserver.config.keys.smtp import SmtpSection


@attrs.frozen
class SMTPOptions(SmtpSection):
    """The keys of the section [smtp], and what else is known of a listener.

    ``domain`` completes a bare local part. ``submission`` is RFC 6409: mail is accepted only after a login.
    ``mechanisms`` are those for AUTH, which needs TLS unless ``plaintext_auth``; ``starttls`` says whether a
    client can start TLS. After ``max_login_failures`` wrong passwords the connection is closed; 0 means
    never.
    """

    hostname: str
    domain: str
    submission: bool = False
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    plaintext_auth: bool = False
    max_login_failures: int = 3


@attrs.frozen
class Offer:
    """What a session may use at the moment.

    ``starttls`` until TLS is there; ``mechanisms`` until somebody has logged in; ``lookups``: VRFY
    and EXPN say who is known.
    """

    starttls: bool
    mechanisms: tuple[str, ...]
    lookups: bool
