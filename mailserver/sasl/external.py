"""Mechanisms without a secret: EXTERNAL (RFC 4422 appendix A), ANONYMOUS (RFC 4505).

EXTERNAL relies on the client's certificate, which TLS has verified. ANONYMOUS proves nothing and is for
tests.
"""

from collections.abc import Sequence

from mailserver.sasl.coding import MAX_SECRET, to_name, to_text
from mailserver.sasl.steps import Admit, AdmitVouched, Challenge, Granted, LoginFailed, Reason, Steps

# Maximum length of the trace information of an anonymous client, in characters (RFC 4505 section 2).
MAX_TRACE = 255


def external(certificate_addresses: Sequence[str]) -> Steps:
    """EXTERNAL. The response is an authorization identity: one of the addresses, in any spelling."""
    response: bytes = yield Challenge(b"")
    acting_as = to_name(response) if response else ""
    if not certificate_addresses:
        raise LoginFailed(Reason.CREDENTIALS, acting_as)
    granted: Granted = yield AdmitVouched(tuple(certificate_addresses), acting_as)
    return granted.account


def anonymous() -> Steps:
    """ANONYMOUS. The trace information of the client is ignored."""
    trace: bytes = yield Challenge(b"")
    if len(to_text(trace, MAX_SECRET)) > MAX_TRACE:
        raise LoginFailed(Reason.MALFORMED)
    granted: Granted = yield Admit("anonymous")
    return granted.account
