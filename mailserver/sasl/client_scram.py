"""The client side of SCRAM (RFC 5802, RFC 7677), with or without channel binding; see ``scram`` for the ABNF.

The server proves that it knows the password, too: without its signature a login does not succeed.
"""

import base64
import binascii
import hashlib
import hmac
import re

from mailserver.sasl.client_steps import ClientLoginFailed, ClientSteps, required, unexpected
from mailserver.sasl.prep import prepared
from mailserver.sasl.saslname import to_saslname

MIN_ITERATIONS = 4096
"""RFC 7677 section 4. With fewer, whoever plays the server can guess the password fast from the proof."""
MAX_ITERATIONS = 200_000
"""The password is hashed in the thread of the session: 200,000 iterations of SHA-256 take about 0.1 s."""

_EXTENSIONS = rb"(?:,[A-Za-ln-z]=[^\0,]+)*"
_SERVER_FIRST = re.compile(
    rb"r=(?P<nonce>[!-+\--~]+),s=(?P<salt>[A-Za-z0-9+/=]+),i=(?P<iterations>[1-9][0-9]{0,8})" + _EXTENSIONS
)
_SERVER_FINAL = re.compile(rb"v=(?P<signature>[A-Za-z0-9+/=]+)" + _EXTENSIONS)


def scram(
    hash_name: str, name: str, password: str, *, nonce: str, header: bytes = b"n,,", binding: bytes = b""
) -> ClientSteps:
    """SCRAM. ``hash_name`` is that of hashlib. Each ``nonce`` must be unguessable.

    ``header`` is the gs2-header, ``binding`` the data of the channel binding that it names.
    """
    first_bare = b"n=%b,r=%b" % (to_saslname(prepared(name)), nonce.encode())
    server_first = required((yield header + first_bare))
    first = _SERVER_FIRST.fullmatch(server_first)
    if first is None:
        raise ClientLoginFailed("the first message of the server is malformed")
    if not first["nonce"].startswith(nonce.encode()) or len(first["nonce"]) == len(nonce):
        raise ClientLoginFailed("the nonce of the server does not continue that of the client")
    iterations = int(first["iterations"])
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ClientLoginFailed(
            f"the server asks for {iterations} iterations; allowed: {MIN_ITERATIONS} to {MAX_ITERATIONS}"
        )

    salted = hashlib.pbkdf2_hmac(
        hash_name, prepared(password).encode(), _from_base64(first["salt"]), iterations
    )
    final_bare = b"c=%b,r=%b" % (base64.b64encode(header + binding), first["nonce"])
    signed = b",".join((first_bare, server_first, final_bare))
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    stored_key = hashlib.new(hash_name, client_key).digest()
    signature = hmac.digest(stored_key, signed, hash_name)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    server_final = required((yield final_bare + b",p=" + base64.b64encode(proof)))

    final = _SERVER_FINAL.fullmatch(server_final)
    if final is None:
        raise ClientLoginFailed("the server reports an error, or its last message is malformed")
    server_key = hmac.digest(salted, b"Server Key", hash_name)
    if not hmac.compare_digest(_from_base64(final["signature"]), hmac.digest(server_key, signed, hash_name)):
        raise ClientLoginFailed("the signature of the server is wrong: it does not know the password")
    unexpected((yield b""))


def _from_base64(octets: bytes) -> bytes:
    try:
        return base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise ClientLoginFailed("the server sends malformed base64") from None
