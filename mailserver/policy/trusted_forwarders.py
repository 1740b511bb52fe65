"""Whether a trusted forwarder has seen a message pass DMARC, by the ARC chain of the message (RFC 8617).

    authres-payload = [CFWS] authserv-id *( [CFWS] ";" [CFWS] resinfo )     ; RFC 8601 section 2.2

Only results of DMARC with the author domain of the message count.
"""

import re
from collections.abc import Collection

from mailserver.policy.arc.verifier import ARCResult

_SPECIAL = re.compile(rb'\\.?|[()"]', re.DOTALL)
_DMARC = re.compile(rb"\s*dmarc\s*=\s*([a-z]+)(?![^\s])(.*)", re.IGNORECASE | re.DOTALL)
_AUTHOR = re.compile(rb"(?<=\s)header\.from\s*=\s*(?:[^\s@]*@)?([^\s@]+)", re.IGNORECASE)


def vouching_forwarder(arc: ARCResult, trusted: Collection[str], author: str) -> str:
    """The domain of the trusted forwarder that has seen the author domain pass DMARC, or "".

    ``trusted`` has the domains of seals. The last forwarder must be trusted. It vouches for those before it,
    which count only if they are trusted, too.
    """
    if arc.result != "pass":
        return ""
    for sealer, results in zip(reversed(arc.sealers), reversed(arc.results), strict=True):
        if sealer not in trusted:
            return ""
        if _says_pass(results, author):
            return sealer
    return ""


def _says_pass(results: bytes, author: str) -> bool:
    found = [
        said[1].lower() == b"pass"
        for part in _plain(results).split(b";")
        if (said := _DMARC.fullmatch(part))
        and (domain := _AUTHOR.search(said[2]))
        and domain[1].lower() == author.encode()
    ]
    return bool(found) and all(found)


def _plain(value: bytes) -> bytes:
    """The value without comments and quoted strings; b"" if it is malformed."""
    kept: list[bytes] = []
    at = depth = 0
    quoted = False
    for special in _SPECIAL.finditer(value):
        if not depth and not quoted:
            kept.append(value[at : special.start()])
        at = special.end()
        match special[0]:
            case b'"' if not depth:
                quoted = not quoted
            case b"(" if not quoted:
                depth += 1
                kept.append(b" ")
            case b")" if not quoted:
                depth = max(0, depth - 1)
    return b"" if depth or quoted else b"".join([*kept, value[at:]])
