"""Accounts of Dovecot: a passwd-file that its own tools made; and docs/accounts.md, as it is printed."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.accounts.passwords import StoredPassword
from tests.support.docs.session import TYPED, Stage, steps
from tests.support.e2e.accounts import logs_in, settings
from tests.support.e2e.commands import mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need, run
from tests.support.e2e.server import ROOT, Makes, Server, wait_until
from tests.support.runs import rest_slow

TAKEN = (
    "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "CRYPT", "ARGON2ID", "ARGON2I", "SSHA512",
    "SSHA256", "SSHA", "SHA", "SSHA256.HEX", "SHA512.B64", "PLAIN",
)  # fmt: skip
SOON = ["SHA512-CRYPT", "BLF-CRYPT", "SSHA", "PLAIN"]
REST = [scheme for scheme in TAKEN if scheme not in SOON]
NOT_TAKEN = ("SMD5", "CRAM-MD5", "PBKDF2", "SCRAM-SHA-256", "DES-CRYPT")
PASSWORD = "häs:a colon"


def user(scheme: str) -> str:
    return scheme.lower().replace(".", "-")


class Hashes(dict[str, str]):
    """The hashes of :data:`PASSWORD` by scheme. ``doveadm pw`` makes each at its first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "dovecot.conf").touch()

    def __missing__(self, scheme: str) -> str:
        words = "-c", self.folder / "dovecot.conf", "pw", "-p", PASSWORD, "-s", scheme
        self[scheme] = run(self.folder, need("doveadm"), *words).stdout.decode().strip()
        return self[scheme]


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> Hashes:
    return Hashes(tmp_path_factory.mktemp("doveadm"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server for the tests of this module."""
    yield from Server(tmp_path_factory.mktemp("import"), settings()).serve()


def kept(server: Server, name: str) -> StoredPassword:
    """The password of an account as it is on the disk."""
    database = sqlite3.connect(f"file:{server.data / 'accounts.db'}?mode=ro", uri=True)
    try:
        [(text,)] = database.execute("SELECT password FROM account WHERE key = ?", (f"{name}@example.org",))
    finally:
        database.close()
    return StoredPassword.read(text)


def settled(server: Server, name: str) -> None:
    """The password is hashed anew, which nobody waits for at the login."""
    wait_until(lambda: not kept(server, name).outdated, f"argon2id for {name}")


def passwd_file(hashes: Hashes, *schemes: str) -> str:
    return "".join(f"{user(name)}:{hashes[name]}:5000:5000::/var/vmail/{name}::\n" for name in schemes)


@pytest.mark.parametrize("schemes", rest_slow([SOON, REST]), ids=["soon", "rest"])
def test_every_scheme(house: Server, hashes: Hashes, schemes: list[str]) -> None:
    """Each is taken over, lets its owner in, and is argon2id from then on."""
    assert PASSWORD not in hashes["SHA512-CRYPT"]
    given = passwd_file(hashes, *schemes).replace(":{PLAIN}", ":{plain}")
    # a plain password with a colon is not one in a file whose fields end with one
    given = given.replace(PASSWORD, "no colon")
    done = mailserver(house, "import", "passwd-file", "-", given=given)
    assert done == (0, [f"{len(schemes)} accounts imported"], [])
    for scheme in schemes:
        plain = scheme == "PLAIN"
        before = kept(house, user(scheme))
        # what can be read is hashed at once
        assert before.outdated is not plain, scheme
        password = "no colon" if plain else PASSWORD
        assert logs_in(house, user(scheme), password), scheme
        settled(house, user(scheme))
        after = kept(house, user(scheme))
        assert after.value.startswith("$argon2id$")
        assert after.verify(password)
    assert logs_in(house, user(schemes[0]), PASSWORD)
    assert not logs_in(house, user(schemes[0]), "wrong")
    assert not logs_in(house, user("PLAIN"), "{plain}no colon")


def test_what_is_not_taken_is_told_and_the_rest_is_taken(house: Server, hashes: Hashes) -> None:
    given = (
        passwd_file(hashes, *NOT_TAKEN)
        + f"alice:{hashes['SSHA']}\n"
        + f"here:{hashes['SSHA']}::::::allow_nets=192.0.2.0/24\n"
        + f"bare:{hashes['SHA512-CRYPT'].removeprefix('{SHA512-CRYPT}')}::::::userdb_quota_rule=*:bytes=1\n"
    )
    status, out, err = mailserver(house, "import", "passwd-file", "-", given=given)
    assert (status, err) == (1, [])
    assert out[-1] == f"1 account imported, {len(NOT_TAKEN) + 2} lines not imported"
    assert [line.split(":")[0] for line in out[:-1]] == [f"line {number}" for number in range(1, 8)]
    assert out[5].endswith("alice@example.org is in the configuration (account); change it there")
    assert "allow_nets" in out[6]
    for line in out:
        assert not any(text.partition("}")[2] in line for text in hashes.values())
    assert logs_in(house, "bare", PASSWORD)
    settled(house, "bare")


def test_once_more(house: Server, hashes: Hashes) -> None:
    """A second import changes nothing, unless that is asked for."""
    words = ("import", "passwd-file", "-")
    assert mailserver(house, *words, given="twice:{PLAIN}first\n")[0] == 0
    told = "line 1: twice@example.org is already an account; not changed"
    again = mailserver(house, *words, given=f"twice:{hashes['SSHA']}\n")
    assert again == (1, [told, "0 accounts imported, 1 line not imported"], [])
    assert logs_in(house, "twice", "first")
    assert mailserver(house, *words, "--replace", given=f"twice:{hashes['SSHA']}\n")[0] == 0
    assert not logs_in(house, "twice", "first")
    assert logs_in(house, "twice", PASSWORD)
    settled(house, "twice")


# ------------------------------------------------------------ docs/accounts.md

PAGE = ROOT / "docs" / "accounts.md"

DOVECOT = """\
mail_location = maildir:/var/vmail/%d/%n
passdb {{
  driver = passwd-file
  args = scheme=SHA512-CRYPT username_format=%u {}/etc/dovecot/users
}}
"""


@pytest.fixture
def stage(make_server: Makes, tmp_path: Path, hashes: Hashes) -> Stage:
    """What the page begins with."""
    # of the packages that doveconf, postconf and postmap are in
    for program in ("doveadm", "smtp-source"):
        need(program)
    files = {
        "etc/dovecot/dovecot.conf": DOVECOT.format(tmp_path),
        "etc/dovecot/users": "".join(
            f"{name}@example.org:{password}:5000:5000::/var/vmail/example.org/{name}::\n"
            for name, password in (
                ("alice", hashes["SHA512-CRYPT"]),
                ("bob", hashes["BLF-CRYPT"]),
                ("carol", hashes["SMD5"]),
            )
        ),
        "etc/postfix/master.cf": "",
        "etc/postfix/main.cf": "compatibility_level = 3.6\n"
        f"virtual_alias_maps = hash:{tmp_path}/etc/postfix/virtual\n",
        "etc/postfix/virtual": "sales@example.org alice@example.org,\n  bob@example.org\n"
        "info@example.org alice@example.org\n",
        "club.members": "alice@example.org\nbob@example.org\n",
        "var/vmail/example.org/alice/cur/1700000000.M1P1.host,S=23,W=26:2,S": "Subject: one\n\nof Alice\n",
        "var/vmail/example.org/alice/cur/1700000001.M1P1.host:2,": "Subject: two\n\nof Alice\n",
        "var/vmail/example.org/alice/new/.keep": "",
        "var/vmail/example.org/alice/dovecot-uidlist": "3 V1 N3\n",
        "var/vmail/example.org/alice/.Sent/cur/1700000002.M1P1.host:2,S": "Subject: sent\n\n",
        "var/vmail/example.org/bob/new/1700000000.M1P1.host": "Subject: one\n\nof Bob\n",
        "var/vmail/example.org/bob/cur/.keep": "",
        "var/vmail/example.org/O'Brien/new/1700000000.M1P1.host": "Subject: one\n\nof nobody yet\n",
        "var/vmail/example.org/O'Brien/cur/.keep": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        if path.name == ".keep":
            path.unlink()
    run(tmp_path, "postmap", "-c", tmp_path / "etc/postfix", f"hash:{tmp_path}/etc/postfix/virtual")
    return Stage(make_server(settings(accounts=(), tables="")).start(), tmp_path)


@pytest.mark.slow
def test_the_page(stage: Stage) -> None:
    """Every command of docs/accounts.md, in order, does and prints what stands there."""
    server, todo = stage.server, list(steps(PAGE))
    assert len(todo) > 30
    for step in todo:
        if step.command == "mailserver reload":
            server.configure(settings("PLAIN", "LOGIN", "SCRAM-SHA-256", accounts=(), tables=""))
        stage.run(step)
        if step.command == "systemctl start mailserver":
            moved(server)


def moved(server: Server) -> None:
    """The mail is where its owners find it."""
    for name, number, password in (("alice", 2, PASSWORD), ("bob", 1, PASSWORD), ("carol", 0, TYPED)):
        assert len(Mailbox(server, name, password).messages()) == number
        settled(server, name)
    assert [path.name for path in server.data.glob("mail/example.org/o%27brien/new/*")]
