"""What the administrator decides about SMTP sessions."""

from typing import Literal

import attrs


@attrs.frozen
class Settings:
    """Steers every session of a listener; sizes in octets.

    ``max_line_length`` is for lines of messages, CRLF included; 0 means any.
    ``domain`` completes a bare local part. ``verify`` says who may use VRFY and EXPN. After
    ``max_errors`` wrong commands since the last message, or ``max_login_failures`` wrong passwords,
    the client is sent away; 0 means never. ``submission`` is RFC 6409: nothing goes without a login.
    ``mechanisms`` are those for AUTH, which is only for connections with TLS unless
    ``plaintext_auth``; ``starttls`` says whether TLS can be had.
    """

    hostname: str
    domain: str
    max_message_size: int = 52428800
    max_line_length: int = 0
    max_recipients: int = 1000
    hop_limit: int = 100
    bare_newline: Literal["reject", "normalize"] = "reject"
    verify: Literal["never", "authenticated", "always"] = "authenticated"
    strict_syntax: bool = False
    max_errors: int = 20
    max_login_failures: int = 3
    submission: bool = False
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    plaintext_auth: bool = False


@attrs.frozen
class Offer:
    """What a session may use at the moment.

    ``starttls`` until TLS is there; ``mechanisms`` until somebody has logged in; ``tells``: VRFY
    and EXPN say who is known.
    """

    starttls: bool
    mechanisms: tuple[str, ...]
    tells: bool
