"""Accounts, aliases and lists by command: what each changes is in force at once, or at the next start.

Names are of one test alone, so that all can share a server.
"""

import json
import re
import smtplib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.control.channel import socket_name
from tests.support.corpus.messages import MESSAGES
from tests.support.e2e.accounts import logs_in, settings
from tests.support.e2e.commands import begin, done, end, mailserver
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import (
    DOMAIN,
    PASSWORD,
    Makes,
    Server,
    wait_until,
)
from tests.support.runs import rest_slow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server for the tests of this module."""
    config = settings("PLAIN", "LOGIN", "ANONYMOUS")
    yield from Server(tmp_path_factory.mktemp("accounts"), config).serve()


def receives(server: Server, name: str) -> bool:
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<%s>" % SENDER.encode(), b"250")
        reply = session.ask(b"RCPT TO:<%s@%s>" % (name.encode(), DOMAIN.encode()))
    assert reply[:9] in (b"250 2.1.5", b"550 5.1.1"), reply
    return reply.startswith(b"250")


def send(server: Server, name: str) -> None:
    with smtplib.SMTP(*server.smtp, timeout=15) as client:
        client.sendmail(SENDER, [f"{name}@{DOMAIN}"], MESSAGES["plain"])


def count(server: Server, name: str, password: str = PASSWORD) -> int:
    """How many messages are in a mailbox."""
    return len(Mailbox(server, name, password).uids())


# ------------------------------------------------------------ accounts


def test_an_account_from_the_first_day_to_the_last(house: Server) -> None:
    assert not logs_in(house, "dora", "first")
    assert not receives(house, "dora")
    assert done(house, "account add dora", "first\n") == "dora@example.org is added"
    assert logs_in(house, "dora", "first")
    assert logs_in(house, "Dora@Example.ORG", "first")
    assert not logs_in(house, "dora", "second")
    send(house, "dora")
    assert done(house, "account passwd dora", "second word\n") == "dora@example.org has a new password"
    assert not logs_in(house, "dora", "first")
    assert logs_in(house, "dora", "second word")
    done(house, "account disable dora")
    assert not logs_in(house, "dora", "second word")
    assert receives(house, "dora")
    assert done(house, "account enable dora") == "dora@example.org is enabled"
    assert logs_in(house, "dora", "second word")
    done(house, "account remove dora")
    assert not logs_in(house, "dora", "second word")
    assert not receives(house, "dora")
    done(house, "account add dora", "third\n")
    assert count(house, "dora", "third") == 1, "the mail stays where it was"


def test_a_session_ends_when_its_account_is_disabled(house: Server) -> None:
    done(house, "account add emil", "word\n")
    with Pop3(house.pop3) as session:
        assert session.login("emil", "word").startswith(b"+OK")
        done(house, "account disable emil")
        session.expect(b"QUIT", b"-ERR [SYS/PERM] the account is no longer available")
    done(house, "account enable emil")
    with Pop3(house.pop3) as session:
        assert session.login("emil", "word").startswith(b"+OK")
        done(house, "account passwd emil", "other\n")
        session.expect(b"STAT", b"+OK")
        done(house, "account remove emil")
        session.expect(b"STAT", b"-ERR [SYS/PERM] the account is no longer available")


def test_submission_goes_by_the_same_accounts(house: Server) -> None:
    def sends_as(name: str) -> bool:
        with smtplib.SMTP(*house.address("submission"), timeout=15) as client:
            client.login("fritz", "word")
            code, reply = client.mail(f"{name}@{DOMAIN}")
            assert code == 250 or reply.startswith(b"5.7.1"), reply
            return code == 250

    with pytest.raises(smtplib.SMTPAuthenticationError):
        sends_as("fritz")
    done(house, "account add fritz", "word\n")
    assert sends_as("fritz")
    assert not sends_as("boss")
    done(house, "alias add boss fritz")
    assert sends_as("boss")
    done(house, "alias remove boss")
    assert not sends_as("boss")


def test_app_passwords(house: Server) -> None:
    done(house, "account add gina", "chosen\n")
    password = done(house, "account app-password add gina phone")
    other = done(house, "account app-password add gina laptop")
    assert re.fullmatch(r"[a-z2-9]{4}(-[a-z2-9]{4}){5}", password)
    assert logs_in(house, "gina", password)
    assert logs_in(house, "gina@example.org", password.replace("-", "").upper())
    assert logs_in(house, "gina", "chosen")
    assert not logs_in(house, "fritz", password)
    wait_until(lambda: "never" not in listed(house, "gina")["phone"], "the last use")
    assert listed(house, "gina")["laptop"].endswith("last used never")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    made, used = re.findall(r"\d{4}-\d\d-\d\d", listed(house, "gina")["phone"])
    assert made <= used <= time.strftime("%Y-%m-%d", time.gmtime())
    assert today <= used
    done(house, "account app-password revoke gina phone")
    assert not logs_in(house, "gina", password)
    assert logs_in(house, "gina", other)
    done(house, "account passwd gina", "another\n")
    assert logs_in(house, "gina", other), "an app password is of its own"
    done(house, "account disable gina")
    assert not logs_in(house, "gina", other)


def listed(server: Server, name: str) -> dict[str, str]:
    """The app passwords of an account, by name."""
    status, out, err = mailserver(server, "account", "app-password", "list", name)
    assert (status, err) == (0, [])
    return dict(line.split(": ", 1) for line in out)


def test_an_account_without_a_password(house: Server) -> None:
    told = done(house, "account add hugo --no-password")
    assert told == "hugo@example.org is added, without a password"
    assert not logs_in(house, "hugo", "None")
    assert logs_in(house, "hugo", done(house, "account app-password add hugo all"))
    assert receives(house, "hugo")


def test_anonymous_is_an_account_like_any_other(house: Server) -> None:
    def lets_in() -> bool:
        with Smtp(house.address("submission")) as session:
            assert b" ANONYMOUS" in session.ask(b"EHLO client.example")
            reply = session.ask(b"AUTH ANONYMOUS c2lyaGM=")
        assert reply[:3] in (b"235", b"535"), reply
        return reply.startswith(b"235")

    assert not lets_in()
    done(house, "account add anonymous --no-password")
    assert lets_in()
    with Pop3(house.pop3) as session:
        session.expect(b"AUTH ANONYMOUS c2lyaGM=", b"+OK")
    done(house, "account disable anonymous")
    assert not lets_in()


# ------------------------------------------------------------ aliases and lists


def test_aliases(house: Server) -> None:
    done(house, "account add ida", "word\n")
    assert not receives(house, "shop")
    assert done(house, "alias add shop ida") == "shop@example.org leads to ida@example.org"
    send(house, "shop")
    assert count(house, "ida", "word") == 1
    before = count(house, "carol")
    done(house, "alias add shop carol@example.org --replace")
    send(house, "shop")
    assert (count(house, "ida", "word"), count(house, "carol")) == (1, before + 1)
    done(house, "alias remove shop")
    assert not receives(house, "shop")


def test_lists(house: Server) -> None:
    def counts() -> list[int]:
        return [count(house, name, "word") for name in ("jane", "kurt", "lena")]

    for name in ("jane", "kurt", "lena"):
        done(house, f"account add {name}", "word\n")
    assert done(house, "list add team jane kurt --owner lena") == "team@example.org has 2 members"
    send(house, "team")
    assert counts() == [1, 1, 0]
    done(house, "list join team lena")
    send(house, "team")
    assert counts() == [2, 2, 1]
    assert done(house, "list leave team jane kurt") == "team@example.org has 1 member"
    send(house, "team")
    assert counts() == [2, 2, 2]
    send(house, "team-bounces")
    assert counts() == [2, 2, 3], "what comes back is for the owner"
    done(house, "list remove team")
    assert not receives(house, "team")
    assert not receives(house, "team-bounces")


# ------------------------------------------------------------ exit status

WRONG = [
    ("account add alice", 1, "alice@example.org is in the configuration (account)"),
    ("alias add sales bob", 1, "sales@example.org is in the configuration (alias)"),
    ("list join club carol", 1, "club@example.org is in the configuration (list)"),
    ("account remove nobody", 1, "nobody@example.org is not an account in the account store"),
    ("alias add shop2 nobody", 1, "nobody@example.org, which does not exist here"),
    ("account add nobody word", 2, "unexpected extra argument"),
]


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_exit_status(house: Server, make_server: Makes, running: bool) -> None:
    server = house
    if not running:
        server = make_server(settings())
        server.data.mkdir()
    for words, expected, told in WRONG:
        status, out, err = mailserver(server, *words.split(), given="word\n")
        assert (status, out, len(err)) == (expected, [], 1), words
        assert told in err[0]
        assert ": " in err[0]
    assert mailserver(server, "account", "list")[0] == 0


# ------------------------------------------------------------ without a server


def test_without_a_server(make_server: Makes) -> None:
    server = make_server(settings())
    assert mailserver(server, "account", "list")[0] == 1, "there is no data yet"
    server.data.mkdir()
    done(server, "account add dora", "word\n")
    done(server, "account add emil", "word\n")
    done(server, "account disable emil")
    password = done(server, "account app-password add dora phone")
    done(server, "alias add shop dora")
    done(server, "list add team dora alice")
    kept = mailserver(server, "account", "list")
    assert kept[1][3:] == [
        "dora@example.org: argon2, 1 app password",
        "emil@example.org: argon2, disabled",
    ]
    server.start()
    assert mailserver(server, "account", "list") == kept
    assert logs_in(server, "dora", "word")
    assert logs_in(server, "dora", password)
    assert not logs_in(server, "emil", "word")
    send(server, "shop")
    send(server, "team")
    assert count(server, "dora", "word") == 2
    server.kill()
    done(server, "account passwd dora", "other\n")
    server.start()
    assert not logs_in(server, "dora", "word")
    assert logs_in(server, "dora", "other")


@pytest.mark.slow
@pytest.mark.parametrize("running", rest_slow([False, True]), ids=["stopped", "running"])
def test_several_commands_at_once(house: Server, make_server: Makes, running: bool) -> None:
    server = house
    if not running:
        server = make_server(settings())
        server.data.mkdir()
    names = ("mona", "nils", "nils")
    outcomes = [
        end(process, "word\n") for process in [begin(server, "account", "add", each) for each in names]
    ]
    assert [status for status, _, _ in outcomes].count(0) == 2
    assert outcomes[0][0] == 0
    [told] = [err for status, _, err in outcomes if status]
    assert told == ["mailserver: nils@example.org is already an account"]
    kept = mailserver(server, "account", "list")[1]
    assert {"mona@example.org: argon2", "nils@example.org: argon2"} <= set(kept)


# ------------------------------------------------------------ secrecy


def asked_by_hand(server: Server, *requests: object) -> list[str]:
    """What the control socket says to these."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        with socket_name(server.data / "control.sock") as name:
            connection.connect(name)
        connection.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        with connection.makefile("r") as file:
            return [file.readline() for _ in requests]


def test_a_password_is_told_nobody(house: Server) -> None:
    secret = "Xyzzy-Plugh-Plover"
    process = begin(house, "account", "add", "otto")
    about = Path(f"/proc/{process.pid}")
    # empty for a moment, while the kernel starts it
    wait_until(lambda: b"otto" in (about / "cmdline").read_bytes(), "the command's arguments")
    seen = [(about / name).read_bytes() for name in ("cmdline", "environ")]
    assert end(process, f"{secret}\n")[0] == 0
    assert logs_in(house, "otto", secret)
    assert not logs_in(house, "otto", f"{secret}!")
    status, out, err = mailserver(house, "account", "add", "alice", given=f"{secret}\n")
    assert status == 1
    said = [*out, *err, *mailserver(house, "account", "list")[1]]
    add = {"command": "account add", "address": "otto", "password": secret}
    replies = asked_by_hand(
        house,
        add,
        {**add, "command": "account passwd", "address": "nobody"},
        {**add, "password": [secret]},
        {**add, "address": {"x": 1}},
        {"command": "import passwd-file", "text": f"otto:{{PLAIN}}{secret}\npaul:{secret}\n"},
        {**add, "command": f"account {secret}"},
    )
    assert len(replies) == 6
    # the answer to a command that there is not is a list of those that there are
    assert ["error" in json.loads(reply) for reply in replies] == [True, True, True, True, False, True]
    assert json.loads(replies[4])["status"] == 1
    for text in (*said, *replies, house.log):
        assert secret not in text
    kept = [path for path in house.data.rglob("*") if path.is_file()]
    assert house.data / "accounts.db" in kept
    for octets in (*seen, *(path.read_bytes() for path in kept)):
        assert secret.encode() not in octets
