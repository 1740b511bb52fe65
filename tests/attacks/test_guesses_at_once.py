"""Guesses that come at the same moment, from where the owner has just logged in."""

import base64
import ipaddress

import attrs
import pytest

from mailserver.accounts.credentials import SCRAM_ITERATIONS, SCRAM_SALT
from mailserver.accounts.passwords import StoredPassword
from mailserver.config.keys.limits import LimitsSection
from mailserver.net.connection import Connection
from mailserver.sasl.scram import derive_keys
from tests.support.accounts.people import HASHED, Bench, account
from tests.support.attacks.real_accounts import put_behind
from tests.support.net.fakes import LOST, POP3Port, SMTPPort, Wire
from tests.support.net.limits import only_limits
from tests.support.runs import rest_slow
from tests.support.sasl.client import CLIENTS, Talk

MECHANISMS = ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")
SETTINGS = {"mechanisms": MECHANISMS, "max_login_failures": LimitsSection().auth_failures}
DEFAULTS = only_limits(**attrs.asdict(attrs.evolve(LimitsSection(), exempt=()), recurse=False))
HERE, ELSEWHERE = "192.0.2.66", "198.51.100.7"
GUESSES, RIGHT = 44, 41
ALICE = account(
    "alice",
    HASHED,
    secret="wonderland",
    scram={"sha256": derive_keys("wonderland", "sha256", bytes(SCRAM_SALT), SCRAM_ITERATIONS)},
)
Port = SMTPPort | POP3Port


class Client:
    """One connection with one guess, which it begins at once; ``password`` is what it tries."""

    def __init__(self, port: Port, mechanism: str, password: bytes, host: str = HERE) -> None:
        self.port, self.mechanism = port, mechanism
        self.talk: Talk | None = None
        self.password = password
        self.connection: Connection
        self.wire: Wire
        self.connection, self.wire = port.caller(host=host)
        self.said = b""
        if mechanism == "USER":
            self.connection.dataReceived(b"USER alice\r\n")
        else:
            self.talk = CLIENTS[mechanism](b"alice", password)
            next(self.talk)
            self.connection.dataReceived(b"AUTH " + mechanism.encode() + b"\r\n")

    def go_on(self) -> bool:
        """Answer the last challenge, if there is one; False once the login is over, or waits."""
        said = self.wire.said()
        challenged = said.startswith((b"334 ", b"+ "))
        if challenged:
            assert self.talk is not None
            response = self.talk.send(base64.b64decode(said.split(b" ")[1]))
            self.connection.dataReceived(base64.b64encode(response) + b"\r\n")
        elif self.mechanism == "USER" and said == b"+OK send the password\r\n":
            self.connection.dataReceived(b"PASS " + self.password + b"\r\n")
            challenged = True
        else:
            self.said += said
        return challenged

    @property
    def in_(self) -> bool:
        return self.said.startswith((b"235 ", b"+OK "))


def run(stand: Bench, clients: list[Client], seconds: float = 60.0) -> float:
    """Let them all go on together, and the threads; the seconds that the slowest login took."""
    slept = 0.0
    while not all(client.said for client in clients) and slept < seconds:
        for client in clients:
            client.go_on()
        stand.threads.run_threads()
        for port in {id(client.port): client.port for client in clients}.values():
            port.reactor.advance(0.1)
        slept += 0.1
    return slept


def owner_was_here(stand: Bench, *ports: Port) -> None:
    for port in ports:
        owner = Client(port, "PLAIN", b"wonderland")
        run(stand, [owner])
        assert owner.in_
        owner.connection.connectionLost(LOST)


def guesses(ports: list[Port], mechanism: str, right: int = RIGHT) -> list[Client]:
    return [
        Client(
            ports[number % len(ports)], mechanism, b"wonderland" if number == right else b"guess %d" % number
        )
        for number in range(1, GUESSES + 1)
    ]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The guesses that were compared with what is kept, in order."""
    passwords: list[str] = []
    verify = StoredPassword.verify

    def counted(stored: StoredPassword, password: str) -> bool:
        passwords.append(password)
        return verify(stored, password)

    monkeypatch.setattr(StoredPassword, "verify", counted)
    return passwords


@pytest.mark.parametrize("kind", [SMTPPort, POP3Port])
@pytest.mark.parametrize("mechanism", [*MECHANISMS, "USER"])
@pytest.mark.parametrize("remember", rest_slow([300, 0]))
def test_44_guesses_at_once_after_a_good_login(
    kind: type[SMTPPort] | type[POP3Port], mechanism: str, remember: int, looked_at: list[str]
) -> None:
    """The right one is the 41st. It is remembered, too, and needs no hash, as those before it do."""
    if mechanism == "USER" and kind is SMTPPort:
        mechanism = "LOGIN"
    port = kind(limits=DEFAULTS, settings=SETTINGS)
    stand = put_behind([ALICE], port, held=True, remember=remember)
    owner_was_here(stand, port)
    clients = guesses([port], mechanism)
    looked_at.clear()
    run(stand, clients)
    assert not [client.password for client in clients if client.in_]
    assert len(looked_at) <= DEFAULTS.auth_block_after
    for client in clients:
        client.connection.connectionLost(LOST)
    # It is closed here, for the owner too, and nowhere else.
    here, there = Client(port, "PLAIN", b"wonderland"), Client(port, "PLAIN", b"wonderland", ELSEWHERE)
    run(stand, [there])
    assert there.in_
    run(stand, [here], 120)
    assert here.said and not here.in_


def test_over_both_protocols_at_once(looked_at: list[str]) -> None:
    smtp = SMTPPort(limits=DEFAULTS, settings=SETTINGS)
    pop3 = POP3Port(smtp.reactor, settings=SETTINGS)
    pop3.factory.context = smtp.factory.context
    stand = put_behind([ALICE], smtp, pop3, held=True, remember=300)
    owner_was_here(stand, smtp, pop3)
    clients = guesses([smtp, pop3], "PLAIN")
    looked_at.clear()
    run(stand, clients)
    assert not [client.password for client in clients if client.in_]
    assert len(looked_at) <= DEFAULTS.auth_block_after


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize(
    "limits",
    [
        attrs.evolve(DEFAULTS, exempt=(ipaddress.ip_network("192.0.2.0/24"),)),
        attrs.evolve(DEFAULTS, auth_block_after=0),
        attrs.evolve(DEFAULTS, auth_block=0.0),
    ],
    ids=["exempt", "no number", "no time"],
)
def test_without_a_block_the_right_one_gets_in(limits: LimitsSection, mechanism: str) -> None:
    port = SMTPPort(limits=limits, settings=SETTINGS)
    stand = put_behind([ALICE], port, held=True, remember=300)
    owner_was_here(stand, port)
    clients = guesses([port], mechanism)
    run(stand, clients)
    assert [client.password for client in clients if client.in_] == [b"wonderland"]


@pytest.mark.parametrize("remember", [300, 0])
def test_a_program_with_many_connections_is_let_in(remember: int) -> None:
    """Twenty logins at once with the right password: those beyond the tenth wait for the first, no longer."""
    port = SMTPPort(limits=DEFAULTS, settings=SETTINGS)
    stand = put_behind([ALICE], port, held=True, remember=remember)
    owner_was_here(stand, port)
    clients = [Client(port, "PLAIN", b"wonderland") for _ in range(20)]
    assert run(stand, clients) <= 1.0
    assert all(client.in_ for client in clients)


@pytest.mark.parametrize("kind", [SMTPPort, POP3Port])
def test_who_hangs_up_is_looked_at_no_longer(kind: type[SMTPPort] | type[POP3Port]) -> None:
    """And leaves nothing that others would have to wait for."""
    port = kind(limits=attrs.evolve(DEFAULTS, auth_block_after=100), settings=SETTINGS)
    stand = put_behind([ALICE], port, held=True, remember=300)
    owner_was_here(stand, port)
    for client in guesses([port], "PLAIN", right=0):
        client.go_on()
        client.connection.connectionLost(LOST)
    assert port.limits.guard._being_checked == {}
    assert port.is_clean


def test_the_line_is_seen_before_the_limit_is_reached() -> None:
    """The fifth of ten that may fail: it gets in, whoever guesses beside it."""
    port = SMTPPort(limits=DEFAULTS, settings=SETTINGS)
    stand = put_behind([ALICE], port, held=True, remember=300)
    owner_was_here(stand, port)
    clients = guesses([port], "PLAIN", right=5)
    run(stand, clients)
    assert [client.password for client in clients if client.in_] == [b"wonderland"]
