"""The login commands of POP3 beside AUTH: APOP, and USER with PASS (RFC 1939 section 7)."""

import hashlib

from mailserver.sasl.coding import to_name
from mailserver.sasl.cram import check_digest
from mailserver.sasl.plain import check_password
from mailserver.sasl.steps import Steps


def apop_digest(timestamp: str, secret: str) -> str:
    """The digest that a client sends. ``timestamp`` is from the greeting, with its angle brackets."""
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
