"""Strangers relay nothing, whatever they write; nor do people with an account send as somebody else.

The forms are those of nmap's script smtp-open-relay, and of MTAs that once read more into an address
than there is. Who is no stranger to the server is so by ``relay.networks``, where no client here is.
"""

import smtplib
from collections.abc import Iterator
from itertools import product

import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.limited import LimitedServer, SmtpFrom, credentials
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import ACCOUNTS, ROUTES, Server, wait_until

HERE = "127.0.0.1"  # the server, for itself
STRANGER = "127.0.0.5"
# Only what refuses relaying is to be seen here.
PATIENCE = 'error_delay = "0s"\nfailed_recipients_per_address = "0"'
NAME = "mail.example.org"  # of the server
FAR = "target@far.example"
SENDERS = ["", "spammer@far.example", f"spammer@{NAME}", f"spammer@[{HERE}]", "alice@example.org"]
FORMS = [
    FAR,
    f"target%far.example@[{HERE}]",
    f"target%far.example@{NAME}",
    "target%far.example@example.org",
    f'"{FAR}"',
    '"target%far.example"',
    f"{FAR}@[{HERE}]",
    f'"{FAR}"@[{HERE}]',
    f"{FAR}@{NAME}",
    f"{FAR}@example.org",
    f"@[{HERE}]:{FAR}",
    f"@{NAME}:{FAR}",
    f"@example.org:{FAR}",
    "far.example!target",
    f"far.example!target@[{HERE}]",
    f"far.example!target@{NAME}",
    "far.example!target@example.org",
    f"<{FAR}>,<alice@example.org",
]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    relay = '[relay]\nnetworks = ["192.0.2.0/24"]\n'
    server = LimitedServer(tmp_path_factory.mktemp("strict"), tables=relay + ROUTES)
    yield from server.serve()


def check_that_nothing_was_taken(server: Server) -> None:
    """Neither into a mailbox nor to be sent on."""
    for name in ACCOUNTS:
        assert Mailbox(server, name).messages() == []
    assert mailserver(server, "queue", "list") == (0, ["0 messages, 0 recipients waiting"], [])


def test_port_25(strict: LimitedServer) -> None:
    strict.limit(PATIENCE, smtp="max_errors = 0")
    with smtplib.SMTP(*strict.smtp, source_address=(STRANGER, 0)) as client:
        for sender, form in product(SENDERS, FORMS):
            client.ehlo("client.example")
            code, text = client.docmd("MAIL", f"FROM:<{sender}>")
            if code == 250:
                code, text = client.docmd("RCPT", f"TO:<{form}>")
            assert code in (501, 550, 553), (sender, form, code, text)
            assert client.docmd("DATA")[0] == 503
    check_that_nothing_was_taken(strict)


def test_submission_without_a_login(strict: LimitedServer) -> None:
    strict.limit(PATIENCE, smtp="max_errors = 0")
    with smtplib.SMTP(*strict.address("submission"), source_address=(STRANGER, 0)) as client:
        client.ehlo("client.example")
        for sender, form in product(SENDERS, [*FORMS, "alice@example.org"]):
            for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{form}>", "DATA"):
                assert client.docmd(command)[0] == 530, command
    check_that_nothing_was_taken(strict)


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
