"""``pop3.login_delay``: how often a mailbox may be looked into (RFC 2449 section 6.5, RFC 3206)."""

import time
from collections.abc import Iterator

import pytest

from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.limited import LimitedServer, Pop3From
from tests.support.e2e.server import PASSWORD, wait_until

REFUSED = b"-ERR [LOGIN-DELAY] "


@pytest.fixture(scope="module")
def delayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    server = LimitedServer(tmp_path_factory.mktemp("delayed"), accounts=("alice", "bob", "carol", "dora"))
    yield from server.serve()


def login(server: LimitedServer, name: str, host: str = "127.0.0.1") -> bytes:
    """Log in and leave: the reply to PASS."""
    with Pop3From(server.pop3, host) as session:
        reply = session.login(name, PASSWORD)
        if reply.startswith(b"+OK"):
            session.expect(b"QUIT", b"+OK")
        return reply


def capabilities(session: Pop3) -> list[bytes]:
    return session.multi(b"CAPA").splitlines()


@pytest.mark.slow
def test_one_login_in_three_seconds(delayed: LimitedServer) -> None:
    delayed.limit(pop3='login_delay = "2500ms"')
    here, there = delayed.hosts(2)
    began = time.monotonic()
    with Pop3(delayed.pop3) as session:
        assert b"LOGIN-DELAY 3" in capabilities(session), "in whole seconds, and not too few"
        assert session.login("alice", PASSWORD).startswith(b"+OK")
        assert b"LOGIN-DELAY 3" in capabilities(session)
        session.expect(b"QUIT", b"+OK")
    assert login(delayed, "alice", here).startswith(REFUSED)
    assert login(delayed, "ALICE@Example.ORG", there).startswith(REFUSED)
    assert time.monotonic() - began < 2.5, "too slow to say"
    assert login(delayed, "bob").startswith(b"+OK")
    events = delayed.events("pop3.login_delay")
    assert [event["client"] for event in events] == [here, there]
    assert {event["reason"] for event in events} == {"the time since the last login is too short"}
    # what is refused is no login: asking again and again does not put off the next one
    wait_until(lambda: login(delayed, "alice").startswith(b"+OK"), "the end of the delay")
    assert time.monotonic() - began >= 2.5
