"""CRAM-MD5 (RFC 2195): a digest of a challenge, keyed with the password, which the server must store.

response = name SP digest    ; 32 hexadecimal digits in lower case
"""

import hmac
import re
from collections.abc import Callable

from mailserver.sasl.coding import to_name
from mailserver.sasl.steps import Admit, Challenge, FetchSecret, Granted, LoginFailed, Reason, Steps

_RESPONSE = re.compile(rb"(?P<name>.+) (?P<digest>[0-9a-f]{32})")


def cram_md5(challenge: str) -> Steps:
    """CRAM-MD5. Each ``challenge`` must be unique."""
    octets = challenge.encode()
    response: bytes = yield Challenge(octets)
    match = _RESPONSE.fullmatch(response)
    if match is None:
        raise LoginFailed(Reason.MALFORMED)
    return (
        yield from check_digest(
            to_name(match["name"]),
            match["digest"],
            lambda secret: hmac.digest(secret, octets, "md5").hex().encode(),
        )
    )


def check_digest(name: str, digest: bytes, digest_of: Callable[[bytes], bytes]) -> Steps:
    """Fetch the secret, and admit the name if ``digest`` is correct."""
    secret: str | None = yield FetchSecret(name)
    # A digest is computed also for a name without a secret, so that it takes the same time.
    fits = hmac.compare_digest(digest_of((secret or "nobody's").encode()), digest)
    if not (secret and fits):
        raise LoginFailed(Reason.CREDENTIALS)
    granted: Granted = yield Admit(name)
    return granted.account
