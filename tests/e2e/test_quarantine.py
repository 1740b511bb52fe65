"""A message that a check keeps aside: listed, shown, released and removed, with a server and without."""

import json
import poplib
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.e2e.server import PASSWORD, ROOT, configuration, wait_until

APPLICATION = """
from pathlib import Path

from twisted.application.service import Application
from zope.interface import implementer

from mailserver.app.build import make_service
from mailserver.mail.verdict import Accept, Aside
from mailserver.reception.checks import IMessageCheck


@implementer(IMessageCheck)
class Lottery:
    def check_message(self, transaction, content):
        text = b"".join(content.chunks())
        aside = Aside("a lottery", "own") if b"lottery" in text else None
        return Accept("Ok", b"X-Lottery: yes\\r\\n" if aside else b"", aside)


from twisted.internet import reactor

service = make_service(reactor, Path("mail.toml"), checks=[Lottery()])
application = Application("mail")
service.setServiceParent(application)
"""
LARGE = b"x" * 70 + b"\r\n"


class Site:
    """A server with the check, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mail.toml").write_text(configuration())
        (folder / "mail.tac").write_text(APPLICATION)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.folder / "log"
        with log.open("wb") as output:
            command = [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "-y", "mail.tac"]
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output)
        process = self.process
        wait_until(lambda: "ready: " in log.read_text() or process.poll() is not None, "the server", 60)
        [line] = [line for line in log.read_text().splitlines() if "ready: " in line]
        self.smtp, self.pop3 = map(int, re.findall(r"port ([0-9]+)", line))

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def command(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mailserver", *words, "--config", str(self.folder / "mail.toml")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def send(self, body: bytes, *recipients: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.smtp) as smtp:
            message = b"Subject: hello\r\n\r\n" + body
            smtp.sendmail("carol@far.example", [f"{each}@example.org" for each in recipients], message)

    def mailbox(self, name: str) -> list[bytes]:
        pop3 = poplib.POP3("127.0.0.1", self.pop3)
        pop3.user(name)
        pop3.pass_(PASSWORD)
        found = [b"\r\n".join(pop3.retr(number + 1)[1]) for number in range(pop3.stat()[0])]
        pop3.quit()
        return found

    def listed(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.command("quarantine", "list", "--json").splitlines()]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.start()
    yield site
    site.stop()


@pytest.mark.slow
def test_a_message_that_is_kept_aside(site: Site) -> None:
    site.send(b"Win the lottery\r\n", "alice", "bob")
    site.send(b"lottery\r\n" + LARGE * 20_000, "bob")
    site.send(b"Good morning\r\n", "alice")
    assert [b"Good morning" in each for each in site.mailbox("alice")] == [True]
    assert site.mailbox("bob") == []
    first, second = site.listed()
    assert first["recipients"] == ["alice@example.org", "bob@example.org"]
    assert first["sender"] == "carol@far.example" and first["reason"] == "a lottery (own)"
    assert first["subject"] == "hello" and first["mailbox"] == "quarantine@example.org"
    listing = site.command("quarantine", "list")
    assert listing.splitlines()[-1] == "2 messages in the quarantine"
    assert f"; expires {first['expires']}" in listing.splitlines()[0]
    ids = str(first["quarantine_id"]), str(second["quarantine_id"])
    shown = site.command("quarantine", "show", ids[0])
    assert "a lottery (own)" in shown and "Win the lottery" in shown and "X-Lottery: yes" in shown

    assert "released to 2 recipients" in site.command("quarantine", "release", ids[0])
    for name in ("alice", "bob"):
        [mail] = [each for each in site.mailbox(name) if b"lottery" in each]
        assert mail.startswith(b"Return-Path: <carol@far.example>") and b"X-Quarantine" not in mail
        assert b"X-Lottery: yes" in mail
    assert [one["quarantine_id"] for one in site.listed()] == [ids[1]]
    assert f'no message "{ids[0]}"' in site.command("quarantine", "show", ids[0], status=1)

    site.stop()  # the commands work alone, too
    assert [one["quarantine_id"] for one in site.listed()] == [ids[1]]
    assert "released to 1 recipient" in site.command("quarantine", "release", ids[1])
    site.start()
    [large] = [each for each in site.mailbox("bob") if len(each) > 1_000_000]
    assert large.count(b"x" * 70) == 20_000
    assert site.listed() == []
    trace = site.command("trace", str(first["id"]))
    assert "kept aside in the quarantine" in trace and "released from the quarantine" in trace


def test_a_message_that_is_removed(site: Site) -> None:
    site.send(b"lottery\r\n", "alice")
    [kept] = site.listed()
    assert "removed" in site.command("quarantine", "remove", str(kept["quarantine_id"]))
    assert site.listed() == [] and site.mailbox("alice") == []
    assert "no message" in site.command("quarantine", "release", str(kept["quarantine_id"]), status=1)


@pytest.mark.slow
def test_a_recipient_that_is_gone(site: Site) -> None:
    site.send(b"lottery\r\n", "bob")
    [kept] = site.listed()
    text = (site.folder / "mail.toml").read_text()
    site.stop()
    (site.folder / "mail.toml").write_text(text.replace("bob@example.org", "bert@example.org"))
    site.start()
    said = site.command("quarantine", "release", str(kept["quarantine_id"]), status=1)
    assert "<bob@example.org> takes no mail any more; nothing is changed" in said
    assert [one["id"] for one in site.listed()] == [kept["id"]]


def test_its_mailbox_takes_no_mail_from_others(site: Site) -> None:
    with smtplib.SMTP("127.0.0.1", site.smtp) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused):
        smtp.sendmail("carol@far.example", ["quarantine@example.org"], b"Subject: x\r\n\r\n")
