"""The server side of SCRAM (RFC 5802, RFC 7677), with or without channel binding (RFC 5929, RFC 9266).

    client-first  = gs2-header "n=" saslname ",r=" c-nonce ["," extensions]
    gs2-header    = ("p=" cb-name / "n" / "y") "," ["a=" saslname] ","
    server-first  = "r=" c-nonce s-nonce ",s=" base64 ",i=" posit-number
    client-final  = "c=" base64 ",r=" c-nonce s-nonce ["," extensions] ",p=" base64
    server-final  = "v=" base64
    extensions    = attr-val *("," attr-val)    ; ALPHA "=" 1*value-char; no "m" is understood

An unknown name takes the same steps and fails at the proof. The server sends no ``e=``: the reply of SMTP or
POP3 reports the failed login, and need not say why.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

import attrs

from mailserver.sasl.coding import MAX_SECRET, from_base64
from mailserver.sasl.prep import prepared
from mailserver.sasl.saslname import SASLNAME, from_saslname
from mailserver.sasl.steps import Admit, Challenge, FetchKeys, Granted, LoginFailed, Reason, ScramKeys, Steps

_NONCE = rb"[!-+\--~]+"
_EXTENSIONS = rb"(?:,[A-Za-ln-z]=[^\0,]+)*"
_FIRST = re.compile(
    rb"(?P<header>(?:(?P<flag>[ny])|p=(?P<type>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>" + SASLNAME + rb"))?,)"
    rb"(?P<bare>n=(?P<name>" + SASLNAME + rb"),r=(?P<nonce>" + _NONCE + rb")" + _EXTENSIONS + rb")"
)
_FINAL = re.compile(
    rb"(?P<bare>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>" + _NONCE + rb")" + _EXTENSIONS + rb")"
    rb",p=(?P<proof>[A-Za-z0-9+/=]+)"
)


@attrs.frozen
class Binding:
    """The channel binding of a connection (RFC 5802 section 6).

    ``used``: the mechanism is a -PLUS. ``offered``: the server has offered the -PLUS mechanism. ``data``
    returns the data of a channel binding type, None if the connection has none of that type.
    """

    used: bool
    offered: bool
    data: Callable[[str], bytes | None]


def derive_keys(password: str, hash_name: str, salt: bytes, iterations: int) -> ScramKeys:
    """The keys that a server stores for a password. ``hash_name`` is that of hashlib. Slow on purpose."""
    salted = hashlib.pbkdf2_hmac(hash_name, prepared(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    return ScramKeys(
        salt,
        iterations,
        stored_key=hashlib.new(hash_name, client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", hash_name),
    )


def scram(hash_name: str, nonce: str, binding: Binding) -> Steps:
    """SCRAM. ``hash_name`` is that of hashlib. Each ``nonce`` must be unique."""
    message: bytes = yield Challenge(b"")
    _check_lengths(message)
    first = _FIRST.fullmatch(message)
    if first is None:
        raise LoginFailed(Reason.MALFORMED)
    bound = first["header"] + _binding_data(first, binding)
    name = from_saslname(first["name"])
    acting_as = from_saslname(first["authzid"]) if first["authzid"] else ""

    keys: ScramKeys = yield FetchKeys(name, hash_name)
    whole_nonce = first["nonce"] + nonce.encode()
    server_first = b"r=%b,s=%b,i=%d" % (whole_nonce, base64.b64encode(keys.salt), keys.iterations)
    message = yield Challenge(server_first)
    _check_lengths(message)
    final = _FINAL.fullmatch(message)
    if final is None:
        raise LoginFailed(Reason.MALFORMED)
    proof = from_base64(final["proof"])
    if len(proof) != len(keys.stored_key):
        raise LoginFailed(Reason.MALFORMED)
    if not hmac.compare_digest(from_base64(final["binding"]), bound):
        raise LoginFailed(Reason.CREDENTIALS)
    if not hmac.compare_digest(final["nonce"], whole_nonce):
        raise LoginFailed(Reason.CREDENTIALS)

    signed = b",".join((first["bare"], server_first, final["bare"]))
    client_signature = hmac.digest(keys.stored_key, signed, hash_name)
    client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=True))
    if not hmac.compare_digest(hashlib.new(hash_name, client_key).digest(), keys.stored_key):
        raise LoginFailed(Reason.CREDENTIALS)

    # Before the signature is sent, which would reveal that the name exists even if it may not log in.
    granted: Granted = yield Admit(name, acting_as)
    signature = base64.b64encode(hmac.digest(keys.server_key, signed, hash_name))
    if (yield Challenge(b"v=" + signature)) != b"":
        raise LoginFailed(Reason.MALFORMED)
    return granted.account


def _check_lengths(message: bytes) -> None:
    if any(len(attribute) > MAX_SECRET for attribute in message.split(b",")):
        raise LoginFailed(Reason.TOO_LONG)


def _binding_data(first: re.Match[bytes], binding: Binding) -> bytes:
    if binding.used != (first["type"] is not None):
        raise LoginFailed(Reason.MALFORMED)
    if first["flag"] == b"y" and binding.offered:
        # The client supports binding but believes that the server does not: the list was tampered with.
        raise LoginFailed(Reason.CREDENTIALS)
    if first["type"] is None:
        return b""
    data = binding.data(first["type"].decode())
    if data is None:
        raise LoginFailed(Reason.CREDENTIALS)
    return data
