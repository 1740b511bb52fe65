"""Octets of a response as what they mean: base64 (RFC 4648 section 4), text in UTF-8, a name.

What is not well-formed raises :class:`~mailserver.sasl.steps.Failed`.
"""

import base64
import binascii

from mailserver.sasl.prep import prepared
from mailserver.sasl.steps import Failed, Reason


def from_base64(octets: bytes) -> bytes:
    """Strict: what an encoder writes, with its padding, and no white space."""
    try:
        decoded = base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise Failed(Reason.MALFORMED) from None
    # b64decode lets padding follow a whole group, and stray bits precede it.
    if base64.b64encode(decoded) != octets:
        raise Failed(Reason.MALFORMED)
    return decoded


def to_text(octets: bytes) -> str:
    """UTF-8 without NUL."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        # Not "from" it: that error would carry the octets, which may be a password.
        raise Failed(Reason.MALFORMED) from None
    if "\0" in text:
        raise Failed(Reason.MALFORMED)
    return text


def to_name(octets: bytes) -> str:
    """A name to log in by, prepared (see ``prep``). "" is nobody's."""
    name = prepared(to_text(octets))
    if not name:
        raise Failed(Reason.CREDENTIALS)
    return name
