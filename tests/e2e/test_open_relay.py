"""Where every client is a stranger: the senders an account may use, and who is told of names."""

from collections.abc import Iterator

import pytest

from tests.support.e2e.limited import LimitedServer, SmtpFrom, credentials
from tests.support.e2e.server import ROUTES, wait_until

STRANGER = "127.0.0.5"
# Only what refuses relaying is to be seen here.
PATIENCE = 'error_delay = "0s"\nfailed_recipients_per_address = "0"'


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    relay = '[relay]\nnetworks = ["192.0.2.0/24"]\n'
    server = LimitedServer(tmp_path_factory.mktemp("strict"), tables=relay + ROUTES)
    yield from server.serve()


@pytest.mark.parametrize("protocol", ["smtp", "submission"])
def test_after_a_login_senders_are_ones_own(strict: LimitedServer, protocol: str) -> None:
    strict.limit(PATIENCE)
    with SmtpFrom(strict.address(protocol), STRANGER) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"AUTH PLAIN " + credentials("alice"), b"235 ")
        for foreign in ("bob@example.org", "spammer@far.example", "alice@far.example", "nobody@example.org"):
            session.expect(f"MAIL FROM:<{foreign}>".encode(), b"553 5.7.1 ")
            session.expect(b"RCPT TO:<bob@example.org>", b"503 ")
        for own in (b"alice@example.org", b"Sales@EXAMPLE.org", b""):
            session.expect(b"MAIL FROM:<%s>" % own, b"250 ")
            session.expect(b"RSET", b"250 ")
    wait_until(lambda: strict.events("submission.senders")[1:], "the end of the session")
    refused = strict.events("submission.senders")
    assert [event["account"] for event in refused] == ["alice@example.org"] * 2
    assert refused[1]["count"] == 3, "the first at once, the others at the end of the session"
    assert {event["client"] for event in refused} == {STRANGER}
    assert all(event["reason"].endswith(" does not belong to your account") for event in refused)


def test_any_sender_where_that_is_configured(strict: LimitedServer) -> None:
    strict.limit(tables='[submission]\nsenders = "any"')
    with SmtpFrom(strict.address("submission"), STRANGER) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<bob@example.org>", b"530 ")
        session.expect(b"AUTH PLAIN " + credentials("alice"), b"235 ")
        session.expect(b"MAIL FROM:<bob@example.org>", b"250 ")


def test_names_are_told_to_those_who_have_logged_in(strict: LimitedServer) -> None:
    strict.limit()
    questions = (b"VRFY alice", b"VRFY nobody", b"EXPN club", b"EXPN nothing")
    for protocol in ("smtp", "submission"):
        with SmtpFrom(strict.address(protocol), STRANGER) as session:
            extensions = session.expect(b"EHLO client.example", b"250").splitlines()
            assert not {b"VRFY", b"EXPN"} & {line[4:] for line in extensions}
            answers = {session.ask(question) for question in questions}
            assert len(answers) == 1, "a stranger learns nothing"
            assert answers.pop()[:4] in (b"252 ", b"530 ")
            session.expect(b"AUTH PLAIN " + credentials("alice"), b"235 ")
            session.expect(b"EHLO client.example", b"250")
            session.expect(b"VRFY alice", b"250 2.0.0 <alice@example.org>")
            session.expect(b"VRFY nobody", b"550 5.1.1 ")
            session.expect(b"EXPN nothing", b"550 5.1.1 ")
            members = session.expect(b"EXPN club", b"250-2.1.5 ")
            assert b"alice@example.org" in members and b"bob@example.org" in members
