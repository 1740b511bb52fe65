"""The formats journal and syslog of a whole server, with the real journald and the real rsyslogd."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.config.loader import load
from tests.support.docs.blocks import blocks
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.processes import processes
from tests.support.e2e.programs import need
from tests.support.e2e.server import (
    ROOT,
    ROUTES,
    Makes,
    Server,
    configuration,
    launch_forked_twistd,
    wait_until,
)

PAGE = ROOT / "docs" / "logging.md"


def logging_to(make_server: Makes, format: str, destination: object) -> Server:
    tables = f'{ROUTES}\n[log]\nformat = "{format}"\ndestination = "{destination}"\n'
    return make_server(configuration(tables=tables), launch=launch_forked_twistd)


def accepted(server: Server) -> str:
    """Send a message; returns its id."""
    with Smtp(server.smtp) as smtp:
        smtp.begin("sender@client.example", "alice@example.org", "bob@example.org")
        smtp.send(b"Subject: x\r\n\r\n")
        return smtp.expect(b".", b"250 2.0.0 Ok: queued as ").rsplit(b" ", 1)[1].decode()


def test_a_journal_that_ends_and_begins_again(make_server: Makes, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    def journal() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(str(path))
        made.settimeout(60)
        return made

    def message_about(journal: socket.socket, id: str) -> bytes:
        while b"MAILSERVER_ID=%s\n" % id.encode() not in (message := journal.recv(1 << 16)):
            pass
        return message

    with journal() as first:
        server = logging_to(make_server, "journal", path).start()
        message = message_about(first, accepted(server))
        assert b"MAILSERVER_EVENT=MessageAccepted\n" in message and b"PRIORITY=6\n" in message
    path.unlink()
    id = accepted(server)  # nobody reads the log, and the server goes on
    with journal() as second:
        assert b"MAILSERVER_EVENT=MessageAccepted\n" in message_about(second, id)
        server.stop()
    assert server.log == ""


def test_no_journal_at_the_start(make_server: Makes, tmp_path: Path) -> None:
    server = logging_to(make_server, "journal", tmp_path / "socket")
    lines, _ = server.refused()
    reason = f"cannot connect to {tmp_path / 'socket'}: No such file or directory"
    assert lines == [f"{server.config}: log.destination: {reason}"]


def test_the_configurations_of_the_page(tmp_path: Path) -> None:
    found = [block.text for block in blocks(PAGE) if block.kind == "toml"]
    formats = []
    for number, text in enumerate(found):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        formats.append(load(path).log.format)
    assert formats == ["journal", "syslog"]


# A file system of its own, so that the journal of this machine is left alone.
JOURNALD = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
if [ ! -s /etc/machine-id ]; then
    tr -d - < /proc/sys/kernel/random/uuid > /run/machine-id
    touch /etc/machine-id
    mount --bind /run/machine-id /etc/machine-id
fi
exec "$0"
"""


class Journald:
    """The journal daemon in the foreground. Its files are below ``run``."""

    def __init__(self) -> None:
        self.journalctl = need("journalctl")
        command = [need("unshare"), "-m", "sh", "-ec", JOURNALD, need("/lib/systemd/systemd-journald")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.run = Path(f"/proc/{self.process.pid}/root/run")
        self.socket = self.run / "systemd/journal/socket"
        wait_until(lambda: self.process.poll() is not None or self.socket.exists(), "journald")
        assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()

    def matching(self, *conditions: str) -> list[dict[str, object]]:
        words = [self.journalctl, "-q", "-D", str(self.run / "log/journal"), "--output=json", *conditions]
        done = subprocess.run(words, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def journald() -> Iterator[Journald]:
    if os.geteuid() != 0:
        pytest.skip("only root can start a journal daemon")
    journald = Journald()
    yield journald
    journald.process.kill()
    journald.process.communicate()


@pytest.mark.slow
def test_the_real_journal(make_server: Makes, journald: Journald, tmp_path: Path) -> None:
    server = logging_to(make_server, "journal", journald.socket).start()
    id = accepted(server)
    (found,) = wait_until(lambda: journald.matching("MAILSERVER_EVENT=MessageAccepted"), "the event")
    assert (found["MAILSERVER_ID"], found["PRIORITY"]) == (id, "6")
    assert int(str(found["_PID"])) in processes(server)
    assert found["MAILSERVER_RECIPIENTS"] == ["alice@example.org", "bob@example.org"]
    local = logging_to(make_server, "syslog", journald.run / "systemd/journal/dev-log").start()
    id = accepted(local)
    (found,) = wait_until(lambda: journald.matching("_TRANSPORT=syslog", "--grep", id), "the event")
    assert int(str(found["_PID"])) in processes(local)
    assert str(found["MESSAGE"]).startswith(f"MessageAccepted: {id}: accepted: ")
    assert (found["SYSLOG_IDENTIFIER"], found["SYSLOG_PID"]) == ("mailserver", found["_PID"])
    assert (found["SYSLOG_FACILITY"], found["PRIORITY"]) == ("2", "6")
    (commands,) = [block.text for block in blocks(PAGE) if block.kind == "sh"]
    command = f"journalctl -q -D {journald.run / 'log/journal'}"
    for line in commands.replace("journalctl", command).splitlines():
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert done.returncode == 0 and "mail" in done.stdout, (line, done.stdout, done.stderr)
    for one in (server, local):
        one.stop()


RSYSLOG = """
global(workDirectory="{folder}")
module(load="imtcp")
module(load="imudp")
template(name="all" type="string" string="%pri%|%hostname%|%app-name%|%procid%|%msgid%|%msg%\\n")
input(type="imtcp" port="0" address="127.0.0.1" listenPortFileName="{folder}/port")
action(type="omfile" file="{folder}/messages" template="all")
"""


@pytest.mark.slow
def test_the_real_rsyslogd(make_server: Makes, tmp_path: Path) -> None:
    (tmp_path / "rsyslog.conf").write_text(RSYSLOG.format(folder=tmp_path))
    words = [need("rsyslogd"), "-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", str(tmp_path / "pid")]
    port, messages = tmp_path / "port", tmp_path / "messages"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as rsyslogd:
        try:
            wait_until(lambda: port.exists() and port.read_text(), "the port")
            server = logging_to(make_server, "syslog", f"tcp:127.0.0.1:{port.read_text()}").start()
            id, pids = accepted(server), "|".join(map(str, processes(server)))
            line = rf"22\|mail\.example\.org\|mailserver\|({pids})\|MessageAccepted\|{id}: accepted: "
            wait_until(lambda: messages.exists() and re.search(line, messages.read_text()), "the message")
            server.stop()
        finally:
            rsyslogd.terminate()
