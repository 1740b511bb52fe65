r"""Mechanisms with a bearer token: OAUTHBEARER (RFC 7628), and XOAUTH2, its predecessor by Google.

    client-resp = gs2-header kvsep *kvpair kvsep             ; OAUTHBEARER
    gs2-header  = ("n" / "y") "," ["a=" saslname] ","        ; "p", a channel binding, is not supported
    kvpair      = key "=" value kvsep
    key         = 1*ALPHA
    value       = *(VCHAR / SP / HTAB / CR / LF)
    kvsep       = %x01

    message     = "user=" name kvsep "auth=Bearer " token kvsep kvsep    ; XOAUTH2

The answer to a rejected token is a challenge in JSON. The client must respond to it before the exchange
fails. The accounts decide which tokens are valid.
"""

import contextlib
import json
import re

from mailserver.sasl.coding import MAX_TOKEN, to_name, to_text
from mailserver.sasl.saslname import SASLNAME, from_saslname
from mailserver.sasl.steps import Challenge, CheckToken, Granted, LoginFailed, Reason, Steps

_OAUTHBEARER = re.compile(
    rb"[ny],(?:a=(?P<name>" + SASLNAME + rb"))?,\x01"
    rb"(?P<pairs>(?:[A-Za-z]+=[!-~ \t\r\n]*\x01)*)\x01"
)
_XOAUTH2 = re.compile(rb"user=(?P<name>[^\x01]*)\x01auth=(?P<auth>[!-~ ]+)\x01\x01")
_BEARER = re.compile(rb"bearer +([!-~]+)", re.IGNORECASE)


def oauthbearer() -> Steps:
    """OAUTHBEARER. Its ``auth`` may be empty, to query the requirements (RFC 7628 section 4.3)."""
    response: bytes = yield Challenge(b"")
    match = _OAUTHBEARER.fullmatch(response)
    if match is None:
        raise LoginFailed(Reason.MALFORMED)
    pairs = [pair.partition(b"=") for pair in match["pairs"].split(b"\x01")]
    values = [value for key, _, value in pairs if key == b"auth"]
    if len(values) != 1:
        raise LoginFailed(Reason.MALFORMED)
    name = from_saslname(match["name"]) if match["name"] else ""
    return (yield from _check(name, values[0], "invalid_token"))


def xoauth2() -> Steps:
    """XOAUTH2."""
    response: bytes = yield Challenge(b"")
    match = _XOAUTH2.fullmatch(response)
    if match is None:
        raise LoginFailed(Reason.MALFORMED)
    name = to_name(match["name"]) if match["name"] else ""
    return (yield from _check(name, match["auth"], "400"))


def _check(name: str, authorization: bytes, status: str) -> Steps:
    try:
        token = _BEARER.fullmatch(authorization)
        if token is None:
            raise LoginFailed(Reason.CREDENTIALS)
        granted: Granted = yield CheckToken(to_text(token[1], MAX_TOKEN), name)
    except LoginFailed as refusal:
        if refusal.reason is Reason.CREDENTIALS:
            error = {"status": status, "schemes": "bearer", "scope": ""}
            # The reason stays the same whatever the client responds, even if it cancels.
            with contextlib.suppress(LoginFailed):
                yield Challenge(json.dumps(error, separators=(",", ":")).encode())
        raise
    return granted.account
