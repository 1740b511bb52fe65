"""docs/imap.md: Debian's Dovecot serves the mailboxes of a running server by IMAP, with the same accounts."""

import imaplib
import pwd
import re
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.corpus.messages import message
from tests.support.docs.blocks import blocks
from tests.support.e2e.commands import mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import nobody_can_run_it
from tests.support.e2e.server import DOMAIN, PASSWORD, ROOT, Server, configuration, launch_twistd, wait_until
from tests.support.real_servers.dovecot import DovecotServer
from tests.support.real_servers.process import HOST, need_root
from tests.support.tls_material import make_ca

pytestmark = pytest.mark.slow

USER = "nobody"
PAGE = ROOT / "docs" / "imap.md"
TEXTS = {name: message(name, b"bye from %s\r\n" % name.encode()) for name in ("one", "two", "six")}
AUTH = '[auth]\npasswd_file = "data/dovecot.passwd"\n'
LISTENER = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


@pytest.fixture(scope="module")
def house() -> Iterator[Server]:
    """A running server that is not root: Dovecot does not read the mail of root."""
    need_root()
    if not nobody_can_run_it():
        pytest.skip("nobody may not read this Python, or the project, so that nobody can run it")
    launch = partial(launch_twistd, twistd=("--uid", USER, "--gid", "nogroup"))
    with tempfile.TemporaryDirectory(prefix="mailserver-test-") as name:
        shutil.chown(name, USER)
        server = Server(Path(name), configuration(top="", accounts=["alice", "o'brien"], tables=AUTH), launch)
        try:
            server.start()
            wait_until((server.data / "dovecot.passwd").exists, "the passwd-file")
            yield server
        finally:
            server.finish()


@pytest.fixture(scope="module")
def dovecot(house: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DovecotServer]:
    """Dovecot with the configuration of the page, with the paths, the user and the port of the test."""
    [text] = [block.text for block in blocks(PAGE, "## Set it up") if block.text.startswith("protocols")]
    issued = make_ca(tmp_path_factory.mktemp("tls")).issue("mail.example.org")
    places = {
        "/var/lib/mailserver": str(house.data),
        "/etc/mailserver/fullchain.pem": str(issued.certificate),
        "/etc/mailserver/privkey.pem": str(issued.private_key),
        "user = mailserver": f"user = {USER}",
    }
    for name, place in places.items():
        assert name in text
        text = text.replace(name, place)
    server = DovecotServer(
        {}, "imap", configuration=text.replace("{", "{{").replace("}", "}}"), more=LISTENER
    )
    try:
        server.start(0)
        yield server
        print(server.log)  # shown if a test fails
    finally:
        server.stop()


class Imap:
    """A session in the inbox."""

    def __init__(self, server: DovecotServer, user: str, password: str = PASSWORD) -> None:
        self.client = imaplib.IMAP4(HOST, server.port, timeout=30)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.client.starttls(context)
        self.client.login(user, password)
        self.client.select()

    def __enter__(self) -> "Imap":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.logout()

    def subjects(self) -> list[str]:
        """Those of all messages now."""
        self.client.noop()
        _, found = self.client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return re.findall(r"Subject: (\w+)", repr(found))

    def number(self, subject: str) -> str:
        return self.client.search(None, "SUBJECT", subject)[1][0].decode()


def admits(server: DovecotServer, user: str, password: str) -> bool:
    try:
        with Imap(server, user, password):
            return True
    except imaplib.IMAP4.error:
        return False


def test_one_mailbox_by_both(house: Server, dovecot: DovecotServer) -> None:
    alice = Mailbox(house, "alice")
    with Imap(dovecot, "alice") as imap:
        assert imap.client.search(None, "ALL")[1] == [b""]
        alice.fill(*TEXTS.values())
        assert imap.subjects() == ["one", "two", "six"]
        _, found = imap.client.fetch("1", "(RFC822.SIZE BODY[])")
        assert found[0] is not None
        assert found[0][1] == alice.messages()[0]

        uids = alice.uids()
        imap.client.store(imap.number("one"), "+FLAGS", r"(\Seen \Flagged)")
        assert alice.uids() == uids
        imap.client.store(imap.number("two"), "+FLAGS", r"(\Deleted)")
        imap.client.expunge()
        assert alice.uids() == [uids[0], uids[2]]
        with alice.login() as session:
            session.expect(b"DELE 1", b"+OK")
            session.expect(b"QUIT", b"+OK")
        assert imap.subjects() == ["six"]

        imap.client.append("Sent", None, None, TEXTS["one"])
        imap.client.copy("1", "Trash")
        assert alice.uids() == [uids[2]]
        imap.client.append("INBOX", None, None, TEXTS["two"])
        assert sorted(alice.messages()) == sorted([alice.messages()[0], TEXTS["two"]])
    assert mailserver(house, "verify")[0] == 0


def test_the_accounts_are_the_same(house: Server, dovecot: DovecotServer) -> None:
    with Imap(dovecot, f"o'brien@{DOMAIN}"):
        assert (house.data / f"mail/{DOMAIN}/o%27brien/dovecot-uidlist").exists()

    assert mailserver(house, "account", "add", "carol", given="first\n")[0] == 0
    wait_until(lambda: admits(dovecot, "carol", "first"), "the new account")
    assert not admits(dovecot, "carol", "second")
    assert mailserver(house, "account", "passwd", "carol", given="second\n")[0] == 0
    wait_until(lambda: admits(dovecot, "carol", "second"), "the new password")
    assert not admits(dovecot, "carol", "first")
    assert mailserver(house, "account", "disable", "carol")[0] == 0
    wait_until(lambda: not admits(dovecot, "carol", "second"), "the disabled account")
    status = (house.data / "dovecot.passwd").stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, pwd.getpwnam(USER).pw_uid)
