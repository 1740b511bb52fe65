"""What the administrator decides about SMTP sessions."""

from typing import Literal

import attrs


@attrs.frozen
class Settings:
    """Steers every session of a listener; sizes in octets.

    ``domain`` completes a bare local part. ``verify`` says who may use VRFY.
    """

    hostname: str
    domain: str
    max_message_size: int = 52428800
    max_recipients: int = 1000
    hop_limit: int = 100
    bare_newline: Literal["reject", "normalize"] = "reject"
    verify: Literal["never", "authenticated", "always"] = "authenticated"
    strict_syntax: bool = False
