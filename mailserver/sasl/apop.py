"""What POP3 has of its own beside AUTH: APOP, USER with PASS (RFC 1939 section 7), as steps like the rest."""

import hashlib

from mailserver.sasl.coding import to_name
from mailserver.sasl.cram import check_digest
from mailserver.sasl.plain import check_password
from mailserver.sasl.steps import Steps


def apop_digest(timestamp: str, secret: str) -> str:
    """What a client sends: ``timestamp`` is that of the greeting, with its angle brackets."""
    return hashlib.md5(f"{timestamp}{secret}".encode()).hexdigest()


def apop(timestamp: str, name: str, digest: str) -> Steps:
    """APOP with its two arguments."""
    return (
        yield from check_digest(
            to_name(name.encode()),
            digest.encode(),
            lambda secret: apop_digest(timestamp, secret.decode()).encode(),
        )
    )


def password(name: str, text: str) -> Steps:
    """USER and PASS."""
    return (yield from check_password(to_name(name.encode()), text.encode()))
