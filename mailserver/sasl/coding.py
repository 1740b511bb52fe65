"""Octets of a response as what they mean: base64 (RFC 4648 section 4), text in UTF-8, a name.

What is not well-formed, or too long, raises :class:`~mailserver.sasl.steps.LoginFailed`. Lengths are checked
first: one octet of a response may become six characters when it is prepared, and each is looked up.
"""

import base64
import binascii

from mailserver.sasl.prep import prepared
from mailserver.sasl.steps import LoginFailed, Reason

MAX_NAME = 255
"""The longest name in octets, as the client sends it (RFC 4616 section 2)."""
MAX_SECRET = 1024
"""The longest password in octets, and the longest of anything else but tokens."""
MAX_TOKEN = 8192
"""The longest bearer token in octets: one with many claims has some thousands."""


def from_base64(octets: bytes) -> bytes:
    """Strict: what an encoder writes, with its padding, and no white space."""
    try:
        decoded = base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise LoginFailed(Reason.MALFORMED) from None
    # b64decode lets padding follow a whole group, and stray bits precede it.
    if base64.b64encode(decoded) != octets:
        raise LoginFailed(Reason.MALFORMED)
    return decoded


def to_text(octets: bytes, most: int) -> str:
    """UTF-8 without NUL, of at most so many octets."""
    if len(octets) > most:
        raise LoginFailed(Reason.TOO_LONG)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        # Not "from" it: that error would carry the octets, which may be a password.
        raise LoginFailed(Reason.MALFORMED) from None
    if "\0" in text:
        raise LoginFailed(Reason.MALFORMED)
    return text


def to_name(octets: bytes) -> str:
    """A name to log in by, prepared (see ``prep``). "" is nobody's, and so is one that has grown too long."""
    name = prepared(to_text(octets, MAX_NAME))
    if not name:
        raise LoginFailed(Reason.CREDENTIALS)
    if len(name) > MAX_NAME:
        raise LoginFailed(Reason.TOO_LONG)
    return name
