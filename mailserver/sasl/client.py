"""Logins of a client by AUTH: its credentials, the table of mechanisms, and one exchange.

The mechanisms are those of ``mechanisms`` for which a client has something to send: a password or a token.
"""

import base64
import binascii
import secrets
from collections.abc import Callable, Collection, Mapping

import attrs

from mailserver.sasl.client_scram import scram
from mailserver.sasl.client_steps import (
    ClientLoginFailed,
    ClientSteps,
    cram_md5,
    login,
    oauthbearer,
    plain,
    xoauth2,
)

# The binding types that SCRAM uses, the best first (RFC 9266, RFC 5929).
BINDING_TYPES = ("tls-exporter", "tls-server-end-point")

BindingData = Callable[[str], bytes | None]


def _nonce() -> str:
    return secrets.token_hex(18)


def unbound(binding_type: str) -> None:
    """The binding data of a connection without TLS."""


@attrs.frozen
class ClientCredentials:
    """The name of an account, with its password or with a bearer token (RFC 6750)."""

    name: str
    password: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)


@attrs.frozen
class ClientChannel:
    """The properties of a connection that mechanisms use.

    ``binding`` returns the data of a channel binding type, None if there is none of that type. ``offered``
    has the mechanisms that the server offers.
    """

    encrypted: bool = False
    binding: BindingData = unbound
    offered: frozenset[str] = frozenset()
    nonce: Callable[[], str] = _nonce

    def bound(self) -> tuple[str, bytes] | None:
        """The best channel binding: its type and data."""
        for binding_type in BINDING_TYPES:
            data = self.binding(binding_type)
            if data is not None:
                return binding_type, data
        return None


@attrs.frozen
class ClientMechanism:
    """A mechanism. ``reveals``: it sends the password or the token itself. ``token``: it needs a token."""

    name: str
    steps: Callable[[ClientCredentials, ClientChannel], ClientSteps]
    reveals: bool = False
    token: bool = False
    binds: bool = False


def _scram(name: str, hash_name: str) -> tuple[ClientMechanism, ClientMechanism]:
    """The mechanisms with and without channel binding."""
    plus = f"{name}-PLUS"

    def bound(credentials: ClientCredentials, channel: ClientChannel) -> ClientSteps:
        binding = channel.bound()
        assert binding is not None
        return run(credentials, channel, b"p=%b,," % binding[0].encode(), binding[1])

    def free(credentials: ClientCredentials, channel: ClientChannel) -> ClientSteps:
        # "y" tells the server that the list that reached the client lacks its -PLUS (RFC 5802 section 6).
        stripped = plus not in channel.offered and channel.bound() is not None
        return run(credentials, channel, b"y,," if stripped else b"n,,", b"")

    def run(
        credentials: ClientCredentials, channel: ClientChannel, header: bytes, data: bytes
    ) -> ClientSteps:
        return scram(
            hash_name,
            credentials.name,
            credentials.password,
            nonce=channel.nonce(),
            header=header,
            binding=data,
        )

    return ClientMechanism(plus, bound, binds=True), ClientMechanism(name, free)


# The strongest first. The session tries them in this order.
_ALL = (
    *_scram("SCRAM-SHA-256", "sha256"),
    *_scram("SCRAM-SHA-1", "sha1"),
    ClientMechanism("OAUTHBEARER", lambda who, _: oauthbearer(who.name, who.token), reveals=True, token=True),
    ClientMechanism("XOAUTH2", lambda who, _: xoauth2(who.name, who.token), reveals=True, token=True),
    ClientMechanism("CRAM-MD5", lambda who, _: cram_md5(who.name, who.password)),
    ClientMechanism("PLAIN", lambda who, _: plain(who.name, who.password), reveals=True),
    ClientMechanism("LOGIN", lambda who, _: login(who.name, who.password), reveals=True),
)

CLIENT_MECHANISMS: Mapping[str, ClientMechanism] = {mechanism.name: mechanism for mechanism in _ALL}
"""The mechanisms by name, in the order of preference."""


def usable(
    credentials: ClientCredentials, channel: ClientChannel, *, may_reveal: bool = False
) -> list[ClientMechanism]:
    """The mechanisms that both sides can use, the best first.

    Those that reveal the secret need TLS, unless ``may_reveal``.
    """
    offered: Collection[str] = channel.offered
    return [
        mechanism
        for mechanism in _ALL
        if mechanism.name in offered
        and bool(credentials.token if mechanism.token else credentials.password)
        and (channel.encrypted or may_reveal or not mechanism.reveals)
        and (not mechanism.binds or channel.bound() is not None)
    ]


class ClientExchange:
    """Runs a mechanism once, in the octets of AUTH (RFC 4954 section 4). Raises ClientLoginFailed."""

    __slots__ = ("_steps", "mechanism")

    def __init__(
        self, mechanism: ClientMechanism, credentials: ClientCredentials, channel: ClientChannel
    ) -> None:
        self.mechanism = mechanism
        self._steps = mechanism.steps(credentials, channel)

    def begin(self) -> bytes | None:
        """The initial response in base64, None if the server begins."""
        response = next(self._steps)
        return None if response is None else base64.b64encode(response) or b"="

    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge, both in base64."""
        try:
            decoded = base64.b64decode(challenge, validate=True)
        except binascii.Error:
            raise ClientLoginFailed("the server sends malformed base64") from None
        response = self._steps.send(decoded)
        assert response is not None
        return base64.b64encode(response)

    def succeed(self) -> None:
        """The server reports success."""
        try:
            self._steps.send(None)
        except StopIteration:
            return
        raise ClientLoginFailed("the server reports success before the end of the login")
