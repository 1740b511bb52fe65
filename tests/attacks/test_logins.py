"""Attacks on logins: by leaving, by guessing, and by watching for who is known."""

import base64
import hashlib
from collections import Counter

import attrs
import pytest

from mailserver.accounts import keyring
from mailserver.accounts.credentials import SCRAM_ITERATIONS, SCRAM_SALT
from mailserver.accounts.passwords import StoredPassword
from mailserver.config.keys.limits import LimitsSection
from mailserver.net.connection import Connection
from mailserver.sasl.scram import derive_keys
from mailserver.sasl.steps import ScramKeys
from tests.support.accounts.people import HASHED, account
from tests.support.attacks.real_accounts import put_behind
from tests.support.net.fakes import LOST, POP3Port, SMTPPort, Wire, connect
from tests.support.net.limits import only_limits
from tests.support.sasl.client import log_in, one_line

MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN")
SECRET = base64.b64encode(b"\0alice\0secret")
PORTS = pytest.mark.parametrize("kind", [SMTPPort, POP3Port])
Kind = type[SMTPPort] | type[POP3Port]


@PORTS
@pytest.mark.parametrize("said", [b"", b"AGFsaW", b"AGFsaWNlAHNlY3JldA=="])
def test_who_drops_in_the_middle_leaves_nothing_and_harms_nobody(kind: Kind, said: bytes) -> None:
    port = kind()
    other, wire = port.caller(b"AUTH PLAIN\r\n")
    connection, _ = port.caller(b"AUTH PLAIN\r\n" + said)
    connection.connectionLost(LOST)
    assert port.authenticator.asked == []
    wire.said()
    other.dataReceived(SECRET + b"\r\n")
    assert wire.said().startswith((b"235 ", b"+OK "))
    other.connectionLost(LOST)
    assert port.is_clean


# ------------------------------------------------------------ guessing (row 8)

DEFAULTS = only_limits(**attrs.asdict(attrs.evolve(LimitsSection(), exempt=()), recurse=False))
HOUR = 3600.0
OWNER = "198.51.100.7"


def guesses(port: SMTPPort | POP3Port, host: str, most: int, until: float) -> tuple[int, int]:
    """Guess at alice's password until then, again and again, on new connections when cut off.

    How many answers that took, and how many connections.
    """
    answers = connections = 0
    while answers < most and port.reactor.seconds() < until:
        connection, wire = port.caller(host=host)
        connections += 1
        while not wire.disconnecting and answers < most and port.reactor.seconds() < until:
            connection.dataReceived(one_line(b"alice", b"guess %d" % answers))
            while not (said := wire.said()) and port.reactor.seconds() < until:
                port.reactor.advance(0.5)
            answers += bool(said)
        connection.connectionLost(LOST)
    return answers, connections


def owner_gets_in(port: SMTPPort | POP3Port) -> bool:
    """At once, from where the owner is."""
    connection, wire = port.caller(one_line(b"alice", b"secret"), OWNER)
    said = wire.said()
    connection.connectionLost(LOST)
    return said.startswith((b"235 ", b"+OK "))


@PORTS
def test_50_guesses_one_after_another(kind: Kind) -> None:
    """As the server is shipped: three to a connection, ever slower, and after ten not looked at."""
    port = kind(limits=DEFAULTS, settings={"max_login_failures": LimitsSection().auth_failures})
    answers, connections = guesses(port, "192.0.2.66", 50, HOUR)
    assert (answers, connections) == (50, 17)
    assert port.reactor.seconds() > 20 * 60
    assert len(port.authenticator.asked) <= 20, "the others are not looked at"
    assert owner_gets_in(port)
    assert port.is_clean


@PORTS
@pytest.mark.parametrize("after_a_login", [False, True])
def test_50_guesses_at_once_on_50_connections(kind: Kind, after_a_login: bool) -> None:
    """Passwords that are looked at in a thread: see ``test_guesses_at_once``."""
    port = kind(limits=DEFAULTS, settings={"max_login_failures": LimitsSection().auth_failures})
    if after_a_login:
        owner, wire = port.caller(one_line(b"alice", b"secret"), "192.0.2.66")
        assert wire.said().startswith((b"235 ", b"+OK "))
        owner.connectionLost(LOST)
        port.authenticator.asked.clear()
    clients = [port.caller(one_line(b"alice", b"guess %d" % number), "192.0.2.66") for number in range(50)]
    assert len(port.authenticator.asked) == 1, "one at a time"
    assert owner_gets_in(port)
    for _ in range(60):
        port.reactor.advance(1)
    for connection, _ in clients:
        connection.connectionLost(LOST)
    assert owner_gets_in(port)
    assert port.is_clean


@PORTS
def test_guesses_from_50_addresses_do_not_lock_the_owner_out(kind: Kind) -> None:
    port = kind(limits=DEFAULTS, settings={"max_login_failures": LimitsSection().auth_failures})
    for number in range(50):
        now = port.reactor.seconds()
        guesses(port, f"192.0.2.{number}", 12, now + 120)
        assert owner_gets_in(port)
    assert port.is_clean


# ------------------------------------------------------------ who is known (row 9)

SALT = bytes(range(SCRAM_SALT))
ALICE = account(
    "alice",
    HASHED,
    secret="wonderland",
    scram={name: derive_keys("wonderland", name, SALT, SCRAM_ITERATIONS) for name in ("sha1", "sha256")},
)
# Whoever is known may keep a password in any way, and may be shut out.
KNOWN = {
    "alice": ALICE,
    "hashed": account("hashed", HASHED),
    "plain": account("plain", "wonderland"),
    "off": account("off", HASHED, disabled=True),
    "none": account("none", "{NONE}"),
}


class Costs(Counter[str]):
    """What a login costs: how often each slow thing was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        verify = StoredPassword.verify

        def counted_verify(stored: StoredPassword, password: str) -> bool:
            self[stored.kind] += 1
            return verify(stored, password)

        def counted_derive(password: str, hash_name: str, salt: bytes, iterations: int) -> ScramKeys:
            self[f"keys {hash_name}"] += 1
            return derive_keys(password, hash_name, salt, iterations)

        monkeypatch.setattr(StoredPassword, "verify", counted_verify)
        monkeypatch.setattr(keyring, "derive_keys", counted_derive)


def attempt(connection: Connection, wire: Wire, mechanism: str, name: bytes, greeting: bytes) -> list[bytes]:
    """A login with a wrong password: the shape of each answer, and the whole of the last."""
    answers: list[bytes] = []

    def ask(line: bytes) -> bytes:
        connection.dataReceived(line + b"\r\n")
        answers.append(wire.said())
        return answers[-1].removesuffix(b"\r\n")

    if mechanism == "USER":
        ask(b"USER " + name)
        ask(b"PASS wrong")
    elif mechanism == "APOP":
        timestamp = greeting[greeting.index(b"<") :].strip()
        digest = hashlib.md5(timestamp + b"wrong").hexdigest().encode()
        ask(b"APOP " + name + b" " + digest)
    else:
        log_in(ask, mechanism, name, b"wrong")
    # a challenge has salt and nonce of its own, for everybody; its length tells no more than the name's
    return [*(b"%d" % len(answer) for answer in answers[:-1]), answers[-1]]


@pytest.mark.parametrize(
    ("kind", "mechanism"),
    [
        *((kind, mechanism) for kind in (SMTPPort, POP3Port) for mechanism in MECHANISMS),
        (POP3Port, "USER"),
        (POP3Port, "APOP"),
    ],
)
def test_known_and_unknown_names_are_answered_alike_at_the_same_cost(
    kind: Kind, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same replies, and the same number of hashes of each kind; a clock would tell it less surely.

    Twice for each name, as much is remembered after the first time.
    """
    costs = Costs(monkeypatch)
    seen = set()
    for name in [*KNOWN, "nobody", "nobody@elsewhere.example"]:
        port = kind(settings={"mechanisms": (*MECHANISMS, "APOP"), "max_login_failures": 0})
        put_behind(KNOWN.values(), port)
        connection, wire = connect(port.factory)
        greeting = wire.said()
        connection.dataReceived(port.hello)
        wire.said()
        course = []
        for _ in range(2):
            costs.clear()
            answers = attempt(connection, wire, mechanism, name.encode(), greeting)
            assert answers[-1].startswith((b"535 5.7.8 ", b"-ERR [AUTH] ")), (name, answers)
            # to see that nobody has a password costs nothing
            course.append(
                (*answers, *sorted((what, count) for what, count in costs.items() if what != "none"))
            )
        seen.add(tuple(course))
        connection.connectionLost(LOST)
    assert len(seen) == 1, seen
