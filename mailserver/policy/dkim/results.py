"""Results of DKIM signatures, with the words of RFC 8601 section 2.7.1.

pass         the signature is valid
fail         the message or the signature has been changed, or the signature has expired
policy       the signature may be valid, but its key is too weak or too long to be accepted
neutral      the signature is malformed, or its domain is only testing DKIM and it does not verify
temperror    the key could not be looked up now
permerror    the signature or its key cannot be used
"""

from typing import Literal

import attrs

DKIMResultWord = Literal["pass", "fail", "policy", "neutral", "temperror", "permerror"]


@attrs.frozen(kw_only=True)
class DKIMResult:
    """The result of one signature. A message without a signature has none; its result is ``none``.

    ``domain`` is that of the signer (d=), ``identity`` its agent or user identifier (i=). Both, and the
    ``selector``, are "" if they cannot be read. ``algorithm`` is that of the signature, such as
    ``rsa-sha256``. ``signature`` is the beginning of its value in base64, which tells signatures of one
    domain apart (RFC 6008). ``testing``: the domain is testing DKIM (t=y). ``partial``: octets at the end of
    the body are not covered (l=).
    """

    result: DKIMResultWord
    reason: str = ""
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    signature: str = ""
    testing: bool = False
    partial: bool = False


class UnusableSignature(Exception):
    """A signature has a result without its value being checked."""

    def __init__(self, result: DKIMResultWord, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason
