"""Decodes the octets of a response: base64 (RFC 4648 section 4), UTF-8 text, names.

Malformed and too long responses raise :class:`~mailserver.sasl.steps.LoginFailed`. Lengths are checked
first, because SASLprep may turn one octet into six characters and looks each of them up.
"""

import base64
import binascii

from mailserver.sasl.prep import prepared
from mailserver.sasl.steps import LoginFailed, Reason

MAX_NAME = 255
"""Maximum length of a name in octets, as the client sends it (RFC 4616 section 2)."""
MAX_SECRET = 1024
"""Maximum length in octets of a password, and of all other values except tokens."""
MAX_TOKEN = 8192
"""Maximum length of a bearer token in octets; one with many claims has some thousands."""


def from_base64(octets: bytes) -> bytes:
    """Decode base64 strictly: with padding, and without white space."""
    try:
        decoded = base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise LoginFailed(Reason.MALFORMED) from None
    # b64decode accepts padding after a whole group, and stray bits before padding.
    if base64.b64encode(decoded) != octets:
        raise LoginFailed(Reason.MALFORMED)
    return decoded


def to_text(octets: bytes, most: int) -> str:
    """Decode UTF-8 without NUL, of at most so many octets."""
    if len(octets) > most:
        raise LoginFailed(Reason.TOO_LONG)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        # "from None", because the original error contains the octets, which may be a password.
        raise LoginFailed(Reason.MALFORMED) from None
    if "\0" in text:
        raise LoginFailed(Reason.MALFORMED)
    return text


def to_name(octets: bytes) -> str:
    """A login name, prepared (see ``prep``). An empty or too long result is rejected."""
    name = prepared(to_text(octets, MAX_NAME))
    if not name:
        raise LoginFailed(Reason.CREDENTIALS)
    if len(name) > MAX_NAME:
        raise LoginFailed(Reason.TOO_LONG)
    return name
