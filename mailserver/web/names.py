"""The names that a URL may have for this server.

A page on another site could make its own name mean this server's address (DNS rebinding), and could then read
what this server answers. So a request for an unknown name is rejected, and one that a page of another site
has caused may change nothing.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from mailserver.http.exchange import HTTPHead, HTTPProblem

LOCALHOST = "localhost"
SAFE = ("GET", "HEAD")  # methods that change nothing


def is_loopback(name: str) -> bool:
    """Whether this is localhost or a loopback address."""
    if name == LOCALHOST or name.endswith(f".{LOCALHOST}"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_host(head: HTTPHead, names: Collection[str]) -> None:
    """Raise HTTPProblem, 421, if the request is not for this server (RFC 9110 section 15.5.20)."""
    host = head.host
    if host not in names and not is_loopback(host) and host != head.local.removeprefix("::ffff:"):
        raise HTTPProblem(421, f'This server is not "{host}"; web.names may add a name.', ends=True)


def check_origin(head: HTTPHead) -> None:
    """Raise HTTPProblem, 403, if a page of another site wants to change something (Fetch, section 3.2)."""
    if head.method in SAFE:
        return
    site = head.field("sec-fetch-site")
    origin = head.field("origin")
    if site not in (None, "same-origin", "none") or (origin is not None and not _is_own(origin, head)):
        raise HTTPProblem(403, "A page of another site may change nothing here.")


def _is_own(origin: str, head: HTTPHead) -> bool:
    """Whether the origin is the scheme, the name and the port that the request is for."""
    host = (head.field("host") or "").lower()
    scheme = "https" if head.is_secure else "http"
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    port = {"http": ":80", "https": ":443"}[scheme]
    return parts.scheme == scheme and parts.netloc.removesuffix(port) == host.removesuffix(port)
