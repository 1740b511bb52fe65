"""Priority, deadline, time of release and REQUIRETLS in a whole server: smtplib submits, a far side takes."""

import smtplib
from collections.abc import Iterator

import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.secured import Account, Secured
from tests.support.e2e.server import wait_until
from tests.support.far_sides.beside import far_sides
from tests.support.far_sides.far_side import EXTENSIONS, FarSide
from tests.support.far_sides.scripts import Rule, reply

TABLES = """
[relay]
networks = []
smarthost = "127.0.0.1:{port}"
"""
TEXT = b"Subject: x\r\n\r\nsecret words\r\n"


@pytest.fixture(scope="module")
def far_and_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FarSide, Secured]]:
    with far_sides() as sides:
        far, port = sides.listen(
            script=(Rule("RCPT", reply("450 4.7.1 later"), where="slow@"),),
            extensions=(*EXTENSIONS, "MT-PRIORITY", "DELIVERBY 1"),
        )
        secured = Secured(tmp_path_factory.mktemp("handling"), TABLES.format(port=port))
        try:
            secured.server.start()
            yield far, secured
            secured.server.check_log()
        finally:
            secured.server.finish()


def submit(account: Account, to: str, *options: str) -> None:
    address = account.server.address("submission", "implicit")
    with smtplib.SMTP_SSL(*address, "client.example", context=account.context) as client:
        client.login(account.address, account.password)
        client.ehlo("client.example")
        client.sendmail(account.address, [to], TEXT, mail_options=options)


def report_to(account: Account) -> bytes:
    (found,) = wait_until(account.messages, "the report")
    return found


def test_priority_and_deadline_go_on(far_and_server: tuple[FarSide, Secured]) -> None:
    far, secured = far_and_server
    submit(secured.account(), "bob@far.example", "MT-PRIORITY=-3", "BY=600;R")
    (one,) = wait_until(lambda: far.kept, "the message")
    assert one.parameters["MT-PRIORITY"] == "-3"
    seconds, mode = one.parameters["BY"].split(";")
    assert (590 <= int(seconds) <= 600, mode) == (True, "R")


@pytest.mark.slow
def test_a_deadline_passes(far_and_server: tuple[FarSide, Secured]) -> None:
    _, secured = far_and_server
    account = secured.account()
    submit(account, "slow@far.example", "BY=2;R")
    report = report_to(account)
    assert b"\r\nStatus: 5.4.7\r\n" in report and b"\r\nDeliver-By-Date: " in report


def test_a_message_is_held(far_and_server: tuple[FarSide, Secured]) -> None:
    _, secured = far_and_server
    account = secured.account()
    submit(account, account.address, "HOLDFOR=2")
    assert account.messages() == []
    _, lines, _ = mailserver(secured.server, "queue", "list", "--state", "held")
    assert any("held until" in line and account.address in line for line in lines)
    (found,) = wait_until(account.messages, "the message")
    assert found.endswith(b"secret words\r\n")


def test_tls_is_required(far_and_server: tuple[FarSide, Secured]) -> None:
    """The far side has none; the report does not say what was to be kept secret."""
    far, secured = far_and_server
    account = secured.account()
    submit(account, "carol@far.example", "REQUIRETLS")
    report = report_to(account)
    assert b"\r\nStatus: 5.7.10\r\n" in report and b"secret words" not in report
    assert not far.copies("carol@far.example")
