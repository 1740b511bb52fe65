"""Reads the field Content-Type (RFC 2045 section 5.1)."""

import re

MAX_VALUE = 4096  # octets of a field that matters here
# Quoted strings, and comments without comments in them. One that does not end matches, too: otherwise each
# quoted quote in it would be tried as the beginning of another one.
_QUOTED_OR_COMMENT = re.compile(rb'"(?:[^"\\]|\\.?)*+"?|\((?:[^()\\]|\\.?)*+(\))?')
_MAX_COMMENTS = 100  # quoted strings and comments; the rest of the value stays as it is
_TYPE = re.compile(rb"([!#-'*+\-.0-9A-Z^-~]+/[!#-'*+\-.0-9A-Z^-~]+)[ \t]*(?=;|\Z)", re.IGNORECASE)
_PARAMETER = re.compile(rb';[ \t]*([^ \t;="]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*+"|[^ \t;"]+)[ \t]*')
_END = re.compile(rb"[; \t]*\Z")


def field_value(value: bytes) -> bytes:
    """A value without folding and comments; b"" if it is too long, which nothing accepts."""
    if len(value) > MAX_VALUE:
        return b""
    unfolded = value.replace(b"\r\n", b"")
    return _QUOTED_OR_COMMENT.sub(
        lambda match: b"" if match[1] else match[0], unfolded, count=_MAX_COMMENTS
    ).strip(b" \t")


def content_type(value: bytes) -> tuple[bytes, bytes | None] | None:
    """The type in lower case, and the boundary (RFC 2045 section 5.1). None if it is malformed."""
    match = _TYPE.match(value)
    if match is None:
        return None
    kind, boundaries, at = match[1].lower(), [], match.end()
    while parameter := _PARAMETER.match(value, at):
        if parameter[1].lower() == b"boundary":
            boundaries.append(parameter[2])
        at = parameter.end()
    if len(boundaries) != 1 or not _END.match(value, at):
        return kind, None
    boundary = boundaries[0]
    if boundary.startswith(b'"'):
        boundary = re.sub(rb"\\(.)", rb"\1", boundary[1:-1])
    return kind, boundary.rstrip(b" \t") or None
