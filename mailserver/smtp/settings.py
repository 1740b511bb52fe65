"""What the administrator decides about SMTP sessions."""

from typing import Literal

import attrs


@attrs.frozen
class Settings:
    """Steers every session of a listener; sizes in octets.

    ``max_line_length`` is for lines of messages, CRLF included; 0 means any.
    ``domain`` completes a bare local part. ``verify`` says who may use VRFY and EXPN. After
    ``max_errors`` wrong commands since the last message the client is sent away; 0 means never.
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

    @property
    def tells(self) -> bool:
        """Whether VRFY and EXPN tell: "authenticated" has nobody to tell before there is AUTH."""
        return self.verify == "always"
