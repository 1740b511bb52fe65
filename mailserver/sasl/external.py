"""Mechanisms without a secret: EXTERNAL (RFC 4422 appendix A), ANONYMOUS (RFC 4505).

For EXTERNAL the proof is the client's certificate, which TLS has verified. ANONYMOUS proves nothing,
and is for tests.
"""

from collections.abc import Sequence

from mailserver.sasl.coding import MAX_SECRET, to_name, to_text
from mailserver.sasl.prep import prepared
from mailserver.sasl.steps import Admit, Challenge, Failed, Granted, Reason, Steps

# What an anonymous client says of itself, in characters (RFC 4505 section 2).
MAX_TRACE = 255


def external(certificate_names: Sequence[str]) -> Steps:
    """EXTERNAL: one of the names of the certificate; the first if the client names none."""
    response: bytes = yield Challenge(b"")
    wanted = _comparable(to_name(response)) if response else None
    for name in certificate_names:
        if wanted is None or _comparable(name) == wanted:
            granted: Granted = yield Admit(name)
            return granted.account
    raise Failed(Reason.CREDENTIALS)


def anonymous() -> Steps:
    """ANONYMOUS. What the client says of itself is not looked at."""
    trace: bytes = yield Challenge(b"")
    if len(to_text(trace, MAX_SECRET)) > MAX_TRACE:
        raise Failed(Reason.MALFORMED)
    granted: Granted = yield Admit("anonymous")
    return granted.account


def _comparable(name: str) -> str:
    return prepared(name).casefold()
