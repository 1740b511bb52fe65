"""The client side of the mechanisms, against the RFCs' examples and against our own server side."""

import base64

import attrs
import pytest
import scramp

from mailserver.sasl.client import (
    CLIENT_MECHANISMS,
    ClientChannel,
    ClientCredentials,
    ClientExchange,
    usable,
)
from mailserver.sasl.client_scram import MAX_ITERATIONS, MIN_ITERATIONS
from mailserver.sasl.client_steps import ClientLoginFailed
from mailserver.sasl.exchange import Finished, Rejected, Send
from mailserver.sasl.mechanisms import MECHANISMS, Channel
from tests.support.sasl.exchanges import Accounts, settle, start
from tests.support.sasl.scram_examples import EXAMPLES, Example

BOUND = ClientChannel(
    encrypted=True,
    binding=lambda kind: b"binding" if kind == "tls-exporter" else None,
    offered=frozenset(MECHANISMS),
)
SERVER_SIDE = Channel(
    "mail.example.org",
    secure=True,
    binding=lambda kind: b"binding" if kind == "tls-exporter" else None,
    offered=frozenset(MECHANISMS),
)
ODD = "a,b=c\N{LATIN SMALL LETTER E WITH ACUTE}"
PASSWORDS = {"alice": "secret", ODD: "p\N{LATIN SMALL LETTER A WITH ACUTE}ss, =word"}

TOKENS = {"alice": "token1", ODD: "token2"}


def log_in(
    name: str, who: ClientCredentials, channel: ClientChannel = BOUND, **of_server
) -> str | ClientLoginFailed:
    """Both sides, one with the other: the account, or why not."""
    accounts = Accounts(dict(PASSWORDS), {token: name for name, token in TOKENS.items()})
    server = start(name, attrs.evolve(SERVER_SIDE, **of_server))
    client = ClientExchange(CLIENT_MECHANISMS[name], who, channel)
    outcome = settle(server, server.begin(client.begin()), accounts)
    while isinstance(outcome, Send):
        try:
            response = client.respond(outcome.line)
        except ClientLoginFailed as failure:
            return failure
        outcome = settle(server, server.line(response), accounts)
    if isinstance(outcome, Rejected):
        return outcome.reason.name
    assert isinstance(outcome, Finished)
    client.succeed()
    return outcome.account


@pytest.mark.parametrize("mechanism", CLIENT_MECHANISMS)
@pytest.mark.parametrize("name", PASSWORDS)
def test_our_server_lets_our_client_in(mechanism: str, name: str) -> None:
    if CLIENT_MECHANISMS[mechanism].token:
        who = ClientCredentials(name, token=TOKENS[name])
        assert log_in(mechanism, who) == f"{name}@example.org"
    elif not (mechanism == "CRAM-MD5" and not name.isascii()):
        assert log_in(mechanism, ClientCredentials(name, PASSWORDS[name])) == f"{name}@example.org"


@pytest.mark.parametrize("mechanism", CLIENT_MECHANISMS)
def test_wrong_credentials(mechanism: str) -> None:
    assert log_in(mechanism, ClientCredentials("alice", "wrong", "wrong")) == "CREDENTIALS"


def test_a_password_is_prepared() -> None:
    """RFC 4013: a soft hyphen is nothing."""
    assert log_in("SCRAM-SHA-256", ClientCredentials("alice", "sec\xadret")) == "alice@example.org"


def test_another_channel_is_noticed() -> None:
    """Somebody in the middle has another binding (RFC 5802 section 6)."""
    other = attrs.evolve(BOUND, binding=lambda kind: b"other" if kind == "tls-exporter" else None)
    who = ClientCredentials("alice", "secret")
    assert log_in("SCRAM-SHA-256-PLUS", who, other) == "CREDENTIALS"
    # and, if the list was changed on its way, the server learns that -PLUS was possible
    stripped = attrs.evolve(BOUND, offered=frozenset({"SCRAM-SHA-256"}))
    assert log_in("SCRAM-SHA-256", who, stripped) == "CREDENTIALS"
    assert log_in("SCRAM-SHA-256", who, stripped, offered=frozenset()) == "alice@example.org"


# ---------------------------------------------------------------- the choice


@pytest.mark.parametrize(
    ("credentials", "encrypted", "may_reveal", "expected"),
    [
        ("password", True, False, "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN"),
        ("password", False, False, "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"),
        ("password", False, True, "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN"),
        ("token", True, False, "OAUTHBEARER XOAUTH2"),
        ("token", False, False, ""),
    ],
)
def test_usable(credentials: str, encrypted: bool, may_reveal: bool, expected: str) -> None:
    who = ClientCredentials("alice", **{credentials: "x"})
    channel = ClientChannel(encrypted=encrypted, offered=frozenset(MECHANISMS))
    assert [one.name for one in usable(who, channel, may_reveal=may_reveal)] == expected.split()


def test_usable_with_a_binding() -> None:
    names = [one.name for one in usable(ClientCredentials("alice", "x"), BOUND)]
    assert names[:2] == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
    few = attrs.evolve(BOUND, offered=frozenset({"PLAIN", "GSSAPI"}))
    assert [one.name for one in usable(ClientCredentials("alice", "x"), few)] == ["PLAIN"]


def test_every_mechanism_is_one_of_the_server_side() -> None:
    assert set(CLIENT_MECHANISMS) == set(MECHANISMS) - {"EXTERNAL", "ANONYMOUS"}


def test_credentials_do_not_show_their_secrets() -> None:
    assert "secret" not in repr(ClientCredentials("alice", "secret1", "secret2"))


# ---------------------------------------------------------------- SCRAM


class Scram:
    """A client in the middle of SCRAM, without base64."""

    def __init__(self, name: str = "SCRAM-SHA-256", nonce: str = "rOprNGfwEbeRWgbNEkqO") -> None:
        channel = ClientChannel(nonce=lambda: nonce)
        self.exchange = ClientExchange(CLIENT_MECHANISMS[name], ClientCredentials("user", "pencil"), channel)
        first = self.exchange.begin()
        assert first is not None
        self.first = base64.b64decode(first)

    def respond(self, challenge: bytes) -> bytes:
        return base64.b64decode(self.exchange.respond(base64.b64encode(challenge)))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.mechanism)
def test_scram_examples(example: Example) -> None:
    client = Scram(example.mechanism, example.client_first.rpartition(b"=")[2].decode())
    assert client.first == example.client_first
    assert client.respond(example.server_first) == example.client_final
    assert client.respond(example.server_final) == b""
    client.exchange.succeed()


@pytest.mark.parametrize("name", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
def test_an_independent_server(name: str) -> None:
    mechanism = scramp.ScramMechanism(name.removesuffix("-PLUS"))
    info = mechanism.make_auth_info("p,=\N{LATIN SMALL LETTER E WITH ACUTE}", iteration_count=4096)
    binding = ("tls-server-end-point", b"digest") if name.endswith("-PLUS") else None
    server = scramp.ScramMechanism(name).make_server(lambda user: info, channel_binding=binding)
    channel = ClientChannel(encrypted=True, binding=dict([binding]).get) if binding else ClientChannel()
    who = ClientCredentials("a,b=c", "p,=\N{LATIN SMALL LETTER E WITH ACUTE}")
    client = ClientExchange(CLIENT_MECHANISMS[name], who, channel)
    first = client.begin()
    assert first is not None
    server.set_client_first(base64.b64decode(first).decode())
    final = client.respond(base64.b64encode(server.get_server_first().encode()))
    server.set_client_final(base64.b64decode(final).decode())
    assert client.respond(base64.b64encode(server.get_server_final().encode())) == b""
    client.succeed()


FIRST = b"r=rOprNGfwEbeRWgbNEkqO%s,s=c2FsdA==,i=%d"


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"r=rOprNGfwEbeRWgbNEkqO,s=c2FsdA==,i=4096",  # the server adds nothing
        b"r=another,s=c2FsdA==,i=4096",
        FIRST % (b"x", MIN_ITERATIONS - 1),
        FIRST % (b"x", MAX_ITERATIONS + 1),
        FIRST % (b"x", 10**12),
        b"m=must," + FIRST % (b"x", 4096),
        FIRST % (b"x", 4096) + b",m=must",
        b"r=rOprNGfwEbeRWgbNEkqOx,s=c2Fsd,i=4096",
        b"e=other-error",
        b"\xff\0",
    ],
)
def test_bad_first_messages_of_a_server(challenge: bytes) -> None:
    with pytest.raises(ClientLoginFailed) as failure:
        Scram().respond(challenge)
    assert "pencil" not in str(failure.value)


@pytest.mark.parametrize(
    "final", [b"", b"e=invalid-proof", b"v=", b"v=%b" % base64.b64encode(bytes(32)), b"v=!"]
)
def test_a_server_that_does_not_know_the_password(final: bytes) -> None:
    client = Scram()
    client.respond(FIRST % (b"x", 4096))
    with pytest.raises(ClientLoginFailed):
        client.respond(final)


def test_success_without_the_signature_of_the_server() -> None:
    client = Scram()
    client.respond(FIRST % (b"x", 4096))
    with pytest.raises(ClientLoginFailed):
        client.exchange.succeed()


def test_nonces_are_long_and_never_the_same() -> None:
    made = {ClientChannel().nonce() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 32
