"""The form of names in SCRAM and OAUTHBEARER, with escaped commas (RFC 5801 section 4).

saslname = 1*(value-safe-char / "=2C" / "=3D")    ; UTF-8 without NUL, "=" and ","
"""

from mailserver.sasl.coding import to_name

SASLNAME = rb"(?:[^\0,=]|=2C|=3D)+"


def from_saslname(octets: bytes) -> str:
    """Decode a name that matches :data:`SASLNAME`. Raises :class:`~mailserver.sasl.steps.LoginFailed`."""
    return to_name(octets.replace(b"=2C", b",").replace(b"=3D", b"="))


def to_saslname(name: str) -> bytes:
    """Encode a name."""
    return name.replace("=", "=3D").replace(",", "=2C").encode()
