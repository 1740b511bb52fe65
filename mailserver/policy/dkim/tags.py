"""Reads tag lists, the form of signatures and of key records (RFC 6376 section 3.2).

tag-list  = tag-spec *( ";" tag-spec ) [ ";" ]
tag-spec  = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
tag-name  = ALPHA *( ALPHA / DIGIT / "_" )
tag-value = [ tval *( 1*(WSP / FWS) tval ) ]
tval      = 1*( %x21-3A / %x3C-7E )              ; and UTF-8 (RFC 8616 section 5)
"""

import binascii
import re

_WHITE = b" \t\r\n"
_TAG = re.compile(rb"[ \t\r\n]*+([A-Za-z][A-Za-z0-9_]*+)[ \t\r\n]*+=([\x21-\x3a\x3c-\x7e\x80-\xff \t\r\n]*+)")
_LIST = re.compile(rb"(?:%b;)*+(?:%b)?" % (_TAG.pattern, _TAG.pattern))
_SIGNATURE = re.compile(rb"(;[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_NUMBER = re.compile(rb"[0-9]{1,76}")


def read_tags(text: bytes) -> dict[str, bytes]:
    """The values of a tag list by name, without white space around them, in the order of the list.

    Raises ``ValueError`` if the list is malformed, or if it has a tag twice.
    """
    text = text.strip(_WHITE)
    if not _LIST.fullmatch(text):
        raise ValueError("malformed tag list")
    tags: dict[str, bytes] = {}
    for name, value in _TAG.findall(text):
        if (key := name.decode()) in tags:
            raise ValueError(f"duplicate tag {key[:20]}=")
        tags[key] = value.strip(_WHITE)
    return tags


def read_base64(value: bytes) -> bytes:
    """The octets of a base64 value with white space anywhere in it. Raises ``ValueError``."""
    return binascii.a2b_base64(value.translate(None, _WHITE), strict_mode=True)


def read_list(value: bytes) -> tuple[bytes, ...]:
    """The items between colons, in lower case, without white space around them."""
    items = value.lower().split(b":")
    return tuple([item.strip(_WHITE) for item in items])


def read_number(value: bytes) -> int:
    """An unsigned decimal number of at most 76 digits. Raises ``ValueError``."""
    if not _NUMBER.fullmatch(value):
        raise ValueError("malformed number")
    return int(value)


def without_signature(field: bytes) -> bytes:
    """A header field with a tag list, with the value of b= removed, and the white space around it."""
    name, colon, text = field.partition(b":")
    # A semicolon before the first tag, too, makes the search fast.
    return name + colon + _SIGNATURE.sub(rb"\1", b";" + text)[1:]
