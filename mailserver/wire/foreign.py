"""Detects clients that speak HTTP.

A web page can make a browser send a form to any port, and lines of the form could be commands. So nothing is
read after the first line of an HTTP request.
"""

import re

# request-line = method SP request-target SP HTTP-version (RFC 9112 section 3)
_REQUEST = re.compile(rb"[!-~]+ .* HTTP/[0-9](?:\.[0-9])?[ \r]*")


def is_http(line: bytes) -> bool:
    """Whether a line begins an HTTP request."""
    return b" HTTP/" in line and _REQUEST.fullmatch(line) is not None
