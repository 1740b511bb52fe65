"""Accounts that get another name: with all of their mail, wherever it is at that moment."""

import poplib
import smtplib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from mailserver.app import offline
from mailserver.durable.disk import Disk
from tests.support.corpus.messages import message
from tests.support.e2e.accounts import logs_in
from tests.support.e2e.commands import mailserver
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import Makes, Server, configuration, wait_until
from tests.support.runs import rest_slow

ONE, TWO, SIX = (message(name, b"bye from %s\r\n" % name.encode()) for name in ("one", "two", "six"))
LARGE = message("large", b"0123456789\r\n" * 10_000)
TABLES = """
[storage]
quota_messages = 2
[queue]
retry = ["200ms"]
"""
DOMAINS = 'domains = ["example.org", "example.com"]'


def settings(tables: str = "") -> str:
    text = configuration(accounts=["bob"], tables=tables)
    return text.replace('domains = ["example.org"]', DOMAINS)


def add(server: Server, *names: str) -> None:
    for name in names:
        assert mailserver(server, "account", "add", name, given=f"{name}\n")[0] == 0


@pytest.fixture
def server(make_server: Makes) -> Iterator[Server]:
    yield make_server(settings()).start()


def test_while_the_server_runs(server: Server) -> None:
    add(server, "amy")
    app_password = mailserver(server, "account", "app-password", "add", "amy", "phone")[1][0]
    amy, ann = Mailbox(server, "amy", "amy"), Mailbox(server, "ann", "amy")
    amy.fill(ONE, LARGE)
    uids = amy.uids()
    with smtplib.SMTP(*server.smtp) as client:
        client.ehlo()
        client.mail(SENDER)
        assert client.rcpt(amy.address)[0] == 250
        with amy.login():
            refused = mailserver(server, "account", "rename", "amy", "ann")
            told = ["mailserver: a POP3 session has locked the mailbox amy@example.org; try again"]
            assert refused == (1, [], told)
        wait_until(
            lambda: mailserver(server, "account", "rename", "amy", "ann")[0] == 0, "the end of the lock"
        )
        assert client.data(TWO)[0] == 250  # its recipient was the old name
    assert ann.uids()[:2] == uids
    assert len(ann.messages()) == 3
    with smtplib.SMTP(*server.smtp) as client:
        client.sendmail(SENDER, [amy.address], SIX)
    assert len(ann.messages()) == 4
    assert logs_in(server, "ann", app_password)
    assert not logs_in(server, "amy", "amy")
    assert not (server.data / "mail/example.org/amy").exists()

    # into another domain, where mail for the old name is rejected
    assert mailserver(server, "account", "rename", "ann", "ann@example.com", "--no-alias")[0] == 0
    assert "amy@example.org: ann@example.com" in mailserver(server, "alias", "list")[1]
    session = poplib.POP3(*server.pop3)
    session.user("ann@example.com")
    session.pass_("amy")
    assert session.stat()[0] == 4
    session.quit()
    with smtplib.SMTP(*server.smtp) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused):
        smtp.sendmail(SENDER, ["ann@example.org"], SIX)


@pytest.mark.slow
def test_mail_that_waits_in_the_queue(make_server: Makes) -> None:
    """It waits as the mailbox is full, and arrives in the new one, also after a restart."""
    server = make_server(settings(TABLES)).start()
    add(server, "amy")
    assert mailserver(server, "list", "add", "club", "bob", "amy")[0] == 0
    amy, ann = Mailbox(server, "amy", "amy"), Mailbox(server, "ann", "amy")
    amy.fill(ONE, TWO)
    with smtplib.SMTP(*server.smtp) as client:
        client.sendmail(SENDER, ["club@example.org"], SIX)
    assert "waiting: amy@example.org" in "\n".join(mailserver(server, "queue", "list")[1])
    assert mailserver(server, "account", "rename", "amy", "ann")[0] == 0
    server.restart()
    with ann.login() as session:
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"QUIT", b"+OK")
    wait_until(lambda: len(ann.uids()) == 2, "the message that waits")
    assert ann.messages() == [ann.messages()[0], Mailbox(server, "bob").messages()[0]]
    assert not (server.data / "mail/example.org/amy").exists()


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", rest_slow(["after it", "before the transaction", "in the move"], 1))
def test_a_command_that_is_killed(make_server: Makes, moment: str) -> None:
    """The mail is complete under one of the names, and under the new one if the account has it."""
    server = make_server(settings()).start()
    add(server, "amy")
    Mailbox(server, "amy", "amy").fill(ONE, TWO)
    uids = Mailbox(server, "amy", "amy").uids()
    server.stop()
    # new mail came first, so that the move has several steps
    box = server.data / "mail/example.org/ann"
    for folder in ("new", "cur", "tmp"):
        (box / folder).mkdir(parents=True)

    def killed(*_: Any) -> None:
        raise Killed

    where: Any = {
        "before the transaction": patch("mailserver.accounts.sqlite.engine.SQLiteAccounts.rename", killed),
        "after it": patch.object(offline, "move_maildir", killed),
        "in the move": patch.object(Disk, "remove_dir", killed),
    }[moment]
    with where, pytest.raises(Killed):
        mailserver(server, "account", "rename", "amy", "ann")
    if moment != "before the transaction":
        told = "mailserver: the mailbox amy@example.org must first move to another name: restart the server"
        assert mailserver(server, "alias", "remove", "amy")[0] == 0
        assert mailserver(server, "account", "add", "amy", given="x\n") == (1, [], [told])
        assert mailserver(server, "alias", "add", "amy", "ann")[0] == 0
    server.start()
    name = "amy" if moment == "before the transaction" else "ann"
    assert Mailbox(server, name, "amy").uids() == uids
    assert not logs_in(server, "ann" if name == "amy" else "amy", "amy")
    Mailbox(server, "amy", "amy").fill(SIX)
    assert len(Mailbox(server, name, "amy").uids()) == 3
    if moment == "before the transaction":
        assert mailserver(server, "account", "rename", "amy", "ann")[0] == 0
    assert len(Mailbox(server, "ann", "amy").messages()) == 3
    assert not (server.data / "mail/example.org/amy").exists()


@pytest.mark.slow
def test_a_name_that_is_given_again(server: Server) -> None:
    """A new account with the old name has a mailbox of its own."""
    add(server, "amy")
    amy, ann = Mailbox(server, "amy", "amy"), Mailbox(server, "ann", "amy")
    amy.fill(ONE)
    assert mailserver(server, "account", "rename", "amy", "ann", "--no-alias")[0] == 0
    add(server, "amy")
    amy.fill(TWO, SIX)
    assert (len(amy.messages()), len(ann.messages())) == (2, 1)
    server.restart()
    assert (len(amy.messages()), len(ann.messages())) == (2, 1)


def test_a_domain(server: Server) -> None:
    add(server, "amy")
    Mailbox(server, "amy", "amy").fill(ONE)
    assert mailserver(server, "domain", "rename", "example.org", "example.com")[2] == [
        "mailserver: change these in the configuration first: account bob@example.org"
    ]
    server.configure(settings().replace("bob@example.org", "bob@example.com"))
    assert mailserver(server, "reload")[0] == 0
    done = mailserver(server, "domain", "rename", "example.org", "example.com")
    assert done == (0, ["example.org is now example.com: 1 name renamed"], [])
    with smtplib.SMTP(*server.smtp) as client:
        client.sendmail(SENDER, ["amy@example.org"], TWO)
    assert len(list(server.data.glob("mail/example.com/amy/new/*"))) == 2
