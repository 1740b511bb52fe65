"""Clients that speak another protocol.

A browser can be made to send a form to any port, and the lines of the form could be commands: after
the first line of HTTP nothing more is read.
"""

import re

# request-line = method SP request-target SP HTTP-version (RFC 9112 section 3)
_REQUEST = re.compile(rb"[!-~]+ .* HTTP/[0-9](?:\.[0-9])?[ \r]*")


def is_http(line: bytes) -> bool:
    """Whether a line begins a request of HTTP."""
    return b" HTTP/" in line and _REQUEST.fullmatch(line) is not None
