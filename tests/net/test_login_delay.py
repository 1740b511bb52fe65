"""The time from one login to the next (RFC 2449 section 6.5)."""

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from mailserver.errors import StorageError
from tests.support.net.fakes import LOST, FakeAuthenticator, FakeMaildrop, Journal, POP3Port

RIGHT = b"USER alice\r\nPASS secret\r\n"
IN, SOON = b"+OK alice's maildrop has ", b"-ERR [LOGIN-DELAY] "


def in_use(accounts: FakeAuthenticator) -> None:
    accounts.in_use = True


def unreadable(accounts: FakeAuthenticator) -> None:
    accounts.opening = fail(StorageError("disk"))


def no_accounts(accounts: FakeAuthenticator) -> None:
    accounts.broken = True


def attempt(port: POP3Port, password: bytes = b"secret") -> bytes:
    """The answer to PASS; the client hangs up then."""
    connection, wire = port.caller(b"USER alice\r\nPASS " + password + b"\r\n")
    said = wire.said().splitlines()[-1]
    connection.connectionLost(LOST)
    return said


@pytest.fixture
def port() -> POP3Port:
    return POP3Port(settings={"login_delay": 10.0})


@pytest.mark.parametrize(
    ("trouble", "answer"),
    [
        (in_use, b"-ERR [IN-USE] "),
        (unreadable, b"-ERR [SYS/TEMP] the maildrop "),
        (no_accounts, b"-ERR [SYS/TEMP] authentication "),
        (None, b"-ERR [AUTH] "),
    ],
)
def test_only_a_login_that_has_opened_the_maildrop_counts(
    port: POP3Port, trouble: Callable[[FakeAuthenticator], None] | None, answer: bytes, journal: Journal
) -> None:
    if trouble is not None:
        trouble(port.authenticator)
    for _ in range(3):
        assert attempt(port, b"secret" if trouble else b"wrong").startswith(answer)
    port.authenticator.in_use = port.authenticator.broken = False
    port.authenticator.opening = None
    assert attempt(port).startswith(IN)
    assert attempt(port).startswith(SOON)


def test_it_counts_from_the_last_login_and_not_from_refusals(port: POP3Port) -> None:
    assert attempt(port).startswith(IN)
    for wait, answer in ((5, SOON), (4.5, SOON), (0.5, IN), (9.5, SOON), (0.5, IN)):
        port.reactor.advance(wait)
        assert attempt(port).startswith(answer)


def test_it_counts_from_when_the_maildrop_was_opened(port: POP3Port) -> None:
    """Whether or not the client is still there."""
    opening: Deferred[FakeMaildrop] = Deferred()
    port.authenticator.opening = opening
    connection, _ = port.caller(RIGHT)
    port.reactor.advance(60)
    connection.connectionLost(LOST)
    opening.callback(FakeMaildrop([]))
    port.authenticator.opening = succeed(FakeMaildrop([]))
    port.reactor.advance(9)
    assert attempt(port).startswith(SOON)
    port.reactor.advance(1)
    assert attempt(port).startswith(IN)
