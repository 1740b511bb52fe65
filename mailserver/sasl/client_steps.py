"""The client side of mechanisms, as generators: PLAIN, LOGIN, CRAM-MD5, OAUTHBEARER, XOAUTH2.

A mechanism yields responses and receives challenges, both before base64. It yields None first if the server
begins. It receives None when the server reports success, and then returns, or raises
:class:`ClientLoginFailed` if the success cannot be true. ``scram`` has its own module, ``client_scram``.
"""

import hmac
from collections.abc import Generator

from mailserver.sasl.saslname import to_saslname

ClientSteps = Generator[bytes | None, bytes | None, None]


class ClientLoginFailed(Exception):
    """The login cannot continue. The text says why and never contains a secret."""


def plain(name: str, password: str) -> ClientSteps:
    """PLAIN (RFC 4616)."""
    unexpected((yield f"\0{name}\0{password}".encode()))


def login(name: str, password: str) -> ClientSteps:
    """LOGIN (draft-murchison-sasl-login). The texts of the prompts vary and are ignored."""
    yield None
    yield name.encode()
    unexpected((yield password.encode()))


def cram_md5(name: str, password: str) -> ClientSteps:
    """CRAM-MD5 (RFC 2195)."""
    challenge = required((yield None))
    digest = hmac.digest(password.encode(), challenge, "md5").hex()
    unexpected((yield f"{name} {digest}".encode()))


def oauthbearer(name: str, token: str) -> ClientSteps:
    """OAUTHBEARER (RFC 7628)."""
    header = b"n,a=%b," % to_saslname(name)
    error = yield header + f"\x01auth=Bearer {token}\x01\x01".encode()
    if error is not None:
        # The server reports the error in JSON, and fails after this response (section 3.2.3).
        unexpected((yield b"\x01"))


def xoauth2(name: str, token: str) -> ClientSteps:
    """XOAUTH2, the predecessor of OAUTHBEARER by Google."""
    error = yield f"user={name}\x01auth=Bearer {token}\x01\x01".encode()
    if error is not None:
        unexpected((yield b""))


def required(challenge: bytes | None) -> bytes:
    """The challenge. Raises ClientLoginFailed if the server reports success instead."""
    if challenge is None:
        raise ClientLoginFailed("the server reports success before the end of the login")
    return challenge


def unexpected(challenge: bytes | None) -> None:
    """Raises ClientLoginFailed if the server sends another challenge after the end."""
    if challenge is not None:
        raise ClientLoginFailed("the server sends another challenge after the end of the login")
