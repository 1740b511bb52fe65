"""Logins on a transport: what failures cost, whom they cost it, and what is left when clients do not wait."""

import base64
import ipaddress

import attrs
import pytest
from twisted.internet.defer import Deferred

from mailserver.config.keys.limits import LimitsSection
from mailserver.net.connection import Connection
from tests.support.net.fakes import LOST, MECHANISMS, Journal, POP3Port, SMTPPort, Wire
from tests.support.net.limits import only_limits
from tests.support.sasl.client import CLIENTS, log_in, one_line

LIMITS = only_limits(auth_failure_delay=1.0, auth_block_after=10, auth_block=900.0)
DELAYS = [1, 2, 4, 8, 16, 30, 30]
ELSEWHERE = "198.51.100.7"
RIGHT = one_line(b"alice", b"secret")
WRONG = one_line(b"alice", b"wrong")
NOBODY = one_line(b"nobody", b"wrong")


@attrs.frozen
class Kind:
    """A protocol, and the beginnings of what it answers."""

    port: type[SMTPPort] | type[POP3Port]
    welcome: bytes
    refused: bytes

    def open(self, limits: LimitsSection = LIMITS, most: int = 0) -> SMTPPort | POP3Port:
        return self.port(limits=limits, settings={"max_login_failures": most})


SMTP = Kind(SMTPPort, b"235 2.7.0 ", b"535 5.7.8 ")
POP3 = Kind(POP3Port, b"+OK alice's maildrop has ", b"-ERR [AUTH] ")
KINDS = pytest.mark.parametrize("kind", [SMTP, POP3], ids=["smtp", "pop3"])


def fail(port: SMTPPort | POP3Port, connection: Connection, wire: Wire, line: bytes = WRONG) -> bytes:
    """A wrong guess of a client that waits as long as it must: the answer."""
    connection.dataReceived(line)
    while not (said := wire.said()):
        port.reactor.advance(1)
    return said


def answer_after(port: SMTPPort | POP3Port, wire: Wire, seconds: float) -> bytes:
    """What is said at this moment, and not before."""
    port.reactor.advance(seconds - 0.01)
    assert wire.said() == b""
    port.reactor.advance(0.01)
    return wire.said()


def hung_up(port: SMTPPort | POP3Port, connection: Connection) -> None:
    connection.connectionLost(LOST)
    assert port.is_clean


# ------------------------------------------------------------ delays


@KINDS
def test_each_failure_is_told_later_than_the_one_before(kind: Kind) -> None:
    port = kind.open()
    connection, wire = port.caller()
    for delay in DELAYS:
        connection.dataReceived(WRONG)
        assert answer_after(port, wire, delay).startswith(kind.refused)
    hung_up(port, connection)


@KINDS
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_proof_of_any_kind_counts_once(kind: Kind, mechanism: str) -> None:
    port = kind.open()
    connection, wire = port.caller()

    def ask(line: bytes) -> bytes:
        connection.dataReceived(line + b"\r\n")
        return wire.said().removesuffix(b"\r\n")

    assert log_in(ask, mechanism, b"alice", b"wrong") == b""
    assert answer_after(port, wire, 1).startswith(kind.refused)
    # the second one, by whatever mechanism, takes two seconds
    connection.dataReceived(WRONG)
    assert answer_after(port, wire, 2).startswith(kind.refused)
    assert log_in(ask, mechanism, b"alice", b"secret").startswith(kind.welcome)
    hung_up(port, connection)


@KINDS
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_client_that_gives_up_has_not_failed(kind: Kind, mechanism: str) -> None:
    port = kind.open()
    connection, wire = port.caller(b"AUTH " + mechanism.encode() + b"\r\n*\r\n")
    answer = wire.said().splitlines()[-1]
    assert answer.startswith((b"501 5.7.0 ", b"-ERR authentication cancelled"))
    connection.dataReceived(RIGHT)
    assert wire.said().startswith(kind.welcome)
    hung_up(port, connection)


def initial(response: bytes) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(response) + b"\r\n"


# What is sent, and whether it tells the name.
MALFORMED = {
    "no base64": (b"AUTH PLAIN ====\r\n", False),
    "no PLAIN": (b"AUTH PLAIN AAAA\r\n", False),
    "12 KB": (initial(b"\0alice\0" + "\ufdfa".encode() * 3000), True),
    "a long password": (initial(b"\0alice\0" + b"x" * 1025), True),
    "a long name": (initial(b"\0" + b"x" * 256 + b"\0secret"), False),
    "no UTF-8": (initial(b"\0alice\0\xff"), True),
    "no name": (initial(b"\0\0secret"), False),
    "a response that is too long": (b"AUTH LOGIN\r\n" + b"A" * 20_000 + b"\r\n", False),
    "no proof": (b"AUTH CRAM-MD5\r\nAAAA\r\n", False),
    "no SCRAM": (b"AUTH SCRAM-SHA-256 AAAA\r\n", False),
}


@KINDS
@pytest.mark.parametrize(("line", "named"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_exchange_is_a_failed_login(kind: Kind, line: bytes, named: bool) -> None:
    """It delays, counts for the connection, and closes the name if it has one."""
    port = kind.open(attrs.evolve(LIMITS, auth_block_after=3), most=3)
    connection, wire = port.caller()
    for delay in DELAYS[:3]:
        connection.dataReceived(line)
        port.reactor.advance(delay - 0.01)
        assert not [one for one in wire.said().splitlines() if one[:3] not in (b"334", b"+ P", b"+ V", b"+ ")]
        port.reactor.advance(0.01)
        assert wire.said().startswith((b"500 ", b"501 ", b"535 ", b"421 4.7.0 ", b"-ERR "))
    assert wire.disconnecting
    connection.connectionLost(LOST)
    assert port.authenticator.asked == []
    connection, wire = port.caller()
    assert fail(port, connection, wire, RIGHT).startswith(kind.refused if named else kind.welcome)
    hung_up(port, connection)


@pytest.mark.parametrize(
    "password", [b"\xff\xfe", b"wr\xf6ng", b"\0", b"x" * 1025, "\ufdfa".encode() * 4000, b"wrong"]
)
def test_a_bad_pass_is_a_failed_login(password: bytes) -> None:
    port = POP3.open(attrs.evolve(LIMITS, auth_block_after=1), most=1)
    connection, wire = port.caller(b"USER alice\r\nPASS " + password + b"\r\n")
    assert wire.said() == b"+OK send the password\r\n"
    port.reactor.advance(1)
    assert wire.said().startswith(b"-ERR ") and wire.disconnecting
    connection.connectionLost(LOST)
    connection, wire = port.caller()
    assert fail(port, connection, wire, RIGHT).startswith(POP3.refused)
    hung_up(port, connection)


@KINDS
def test_trouble_of_our_own_is_told_and_delays_as_much(kind: Kind, journal: Journal) -> None:
    """Otherwise who guesses would learn faster while, say, a directory server is down."""
    port = kind.open()
    port.authenticator.broken = True
    connection, wire = port.caller(RIGHT)
    assert answer_after(port, wire, 1).startswith((b"454 4.7.0 ", b"-ERR [SYS/TEMP] "))
    assert journal.lines("storage") == ["login rejected: 'alice' from 192.0.2.1 by PLAIN: broken"]
    assert len(journal.lines()) == 1
    port.authenticator.broken = False
    connection.dataReceived(RIGHT)
    assert wire.said().startswith(kind.welcome)
    hung_up(port, connection)


# ------------------------------------------------------------ clients that do not wait


@KINDS
def test_who_hangs_up_while_it_waits_has_failed_all_the_same(kind: Kind) -> None:
    port = kind.open()
    for _ in range(3):
        connection, wire = port.caller(WRONG)
        assert wire.said() == b""
        hung_up(port, connection)
        port.reactor.advance(30)  # so that nothing is left to wait for from before
    connection, wire = port.caller(WRONG)
    assert answer_after(port, wire, 8).startswith(kind.refused)
    hung_up(port, connection)


@KINDS
def test_who_hangs_up_while_its_password_is_looked_at_has_failed_too(kind: Kind) -> None:
    """And nobody looks at it any longer."""
    port = kind.open()
    port.authenticator.checking = Deferred()
    connection, _ = port.caller(RIGHT)
    hung_up(port, connection)
    assert port.authenticator.checking.called, "it is cancelled"
    port.authenticator.checking = None
    port.reactor.advance(30)
    connection, wire = port.caller(WRONG)
    assert answer_after(port, wire, 2).startswith(kind.refused)
    hung_up(port, connection)


@KINDS
@pytest.mark.parametrize("said", [b"", b"AGFsaW", b"AGFsaWNlAHNlY3JldA=="])
def test_who_drops_in_the_middle_leaves_nothing_and_harms_nobody(kind: Kind, said: bytes) -> None:
    port = kind.open()
    other, wire = port.caller(b"AUTH PLAIN\r\n")
    connection, _ = port.caller(b"AUTH PLAIN\r\n" + said)
    connection.connectionLost(LOST)
    assert port.authenticator.asked == []
    wire.said()
    other.dataReceived(base64.b64encode(b"\0alice\0secret") + b"\r\n")
    assert wire.said().startswith(kind.welcome)
    hung_up(port, other)


@KINDS
def test_many_connections_guess_no_faster_than_one(kind: Kind) -> None:
    """The next guess is not even looked at before the last one is answered, wherever it comes from."""
    port = kind.open()
    clients = [port.caller(one_line(b"name%d" % number, b"wrong")) for number in range(5)]
    assert len(port.authenticator.asked) == 1
    for connection, _ in clients[1:]:
        connection.connectionLost(LOST)
    port.reactor.advance(0.99)
    assert len(port.authenticator.asked) == 1
    connection, wire = clients[0]
    port.reactor.advance(0.01)
    assert wire.said().startswith(kind.refused)
    hung_up(port, connection)


@KINDS
def test_the_right_one_behind_a_wrong_one_waits_until_that_is_told(kind: Kind) -> None:
    port = kind.open()
    first, _ = port.caller(WRONG)
    second, wire = port.caller(RIGHT)
    port.reactor.advance(0.5)
    assert wire.said() == b"" and len(port.authenticator.asked) == 1
    port.reactor.advance(0.5)
    assert wire.said().startswith(kind.welcome)
    first.connectionLost(LOST)
    hung_up(port, second)


@KINDS
def test_commands_behind_a_failure_wait_with_it(kind: Kind) -> None:
    port = kind.open()
    connection, wire = port.caller(WRONG + b"QUIT\r\n")
    connection.dataReceived(b"more")
    assert wire.said() == b"" and wire.producerState == "paused"
    port.reactor.advance(1)
    first, second = wire.said().splitlines()
    assert first.startswith(kind.refused) and second.startswith((b"221 ", b"+OK "))
    assert wire.disconnecting
    hung_up(port, connection)


@KINDS
@pytest.mark.parametrize("behind", [False, True], ids=["its own answer", "that of another"])
def test_a_stop_does_not_wait_for_who_waits(kind: Kind, behind: bool) -> None:
    port = kind.open()
    for _ in range(5):
        connection, _ = port.caller(WRONG)
        connection.connectionLost(LOST)
        port.reactor.advance(30)
    clients = [port.caller(WRONG)]
    if behind:
        clients.append(port.caller(RIGHT))
    done = port.stop(5.0)
    port.reactor.advance(4.99)
    assert not any(wire.disconnecting for _, wire in clients)
    port.reactor.advance(0.01)
    for connection, wire in clients:
        assert wire.disconnecting and not wire.aborted
        assert wire.said().startswith(b"421 4.3.2 " if kind is SMTP else b"")
        connection.connectionLost(LOST)
    assert done == [None] and port.is_clean


# ------------------------------------------------------------ blocks


@KINDS
def test_ten_failures_close_a_name_to_an_address_and_nobody_sees_it(kind: Kind, journal: Journal) -> None:
    port = kind.open()
    connection, wire = port.caller()
    answers = {fail(port, connection, wire) for _ in range(10)}
    asked = len(port.authenticator.asked)
    answers |= {fail(port, connection, wire, RIGHT)}
    assert len(answers) == 1, "the same words as ever"
    assert len(port.authenticator.asked) == asked, "the password is not looked at"
    [*_, last] = journal.lines()
    assert last == "login rejected: 'alice' from 192.0.2.1 by PLAIN: blocked after too many failed logins"
    assert len(journal.lines("limits.auth_block")) == 1
    assert len(journal.lines("accounts")) == 10
    # the same name in other letters, and another connection
    other, other_wire = port.caller()
    assert fail(port, other, other_wire, one_line(b"ALICE", b"secret")) in answers
    other.connectionLost(LOST)
    connection.connectionLost(LOST)
    port.reactor.advance(900)
    connection, wire = port.caller(RIGHT)
    assert wire.said().startswith(kind.welcome)
    hung_up(port, connection)


@KINDS
def test_the_owner_gets_in_at_once_from_elsewhere(kind: Kind) -> None:
    port = kind.open()
    attacker, wire = port.caller()
    for _ in range(12):
        fail(port, attacker, wire)
    attacker.dataReceived(WRONG)
    owner, owners = port.caller(RIGHT, ELSEWHERE)
    assert owners.said().startswith(kind.welcome)
    attacker.connectionLost(LOST)
    hung_up(port, owner)


def test_a_success_does_not_wash_the_failures_for_others() -> None:
    port = SMTP.open()
    for delay in DELAYS:
        attacker, wire = port.caller(NOBODY)
        assert answer_after(port, wire, delay).startswith(SMTP.refused)
        attacker.connectionLost(LOST)
        own, wire = port.caller(RIGHT)
        assert wire.said().startswith(SMTP.welcome)
        hung_up(port, own)


# ------------------------------------------------------------ connections


@KINDS
def test_exempt_clients_wait_for_nothing(kind: Kind) -> None:
    port = kind.open(attrs.evolve(LIMITS, exempt=(ipaddress.ip_network("192.0.2.0/24"),)))
    connection, wire = port.caller(WRONG * 30 + RIGHT)
    *failures, last = wire.said().splitlines()
    assert len(failures) == 30 and last.startswith(kind.welcome)
    hung_up(port, connection)


@KINDS
def test_exchanges_that_were_parked_do_not_pass_the_block(kind: Kind) -> None:
    port = kind.open(attrs.evolve(LIMITS, auth_block_after=1))
    parked = []
    for password in (b"wrong", b"secret"):
        connection, wire = port.caller()
        talk = CLIENTS["SCRAM-SHA-256"](b"alice", password)
        next(talk)
        connection.dataReceived(b"AUTH SCRAM-SHA-256\r\n")
        wire.said()
        connection.dataReceived(base64.b64encode(talk.send(b"")) + b"\r\n")
        parked.append((connection, wire, talk, base64.b64decode(wire.said().split()[1])))
    for connection, wire, talk, challenge in parked:
        response = base64.b64encode(talk.send(challenge)) + b"\r\n"
        assert fail(port, connection, wire, response).startswith(kind.refused)


def test_trouble_of_the_storage_closes_no_name() -> None:
    port = SMTP.open()
    port.authenticator.broken = True
    connection, wire = port.caller()
    for _ in range(12):
        assert fail(port, connection, wire, RIGHT).startswith(b"454 ")
    port.authenticator.broken = False
    port.reactor.advance(60)
    assert fail(port, connection, wire, RIGHT).startswith(SMTP.welcome)
