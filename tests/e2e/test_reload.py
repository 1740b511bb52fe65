"""SIGHUP: what changes without a restart, and that a wrong configuration changes nothing."""

import re
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES
from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import HOSTNAME, Pop3, Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import ACCOUNTS, BOTH, PASSWORD, Makes, Server, configuration, wait_until
from tests.support.tls_material import Issued, make_ca

MORE = [*ACCOUNTS, "dora"]
OUTCOME = re.compile(r"mailserver\.(Configuration|RestartNeeded)")
EXPOSED = "everybody can read or change the secrets in it; fix it with: "


def reload(server: Server) -> str:
    """SIGHUP; the one event that it must log beside the warning about the tests' open configuration."""
    with Smtp(server.smtp) as session:  # so that nothing of the start is still to be logged
        session.expect(b"QUIT", b"221")
    before = len(server.log)
    server.signal(signal.SIGHUP)

    def events() -> list[str]:
        lines = server.log[before:].splitlines()
        return [line for line in lines if OUTCOME.search(line) and EXPOSED not in line]

    wait_until(events, "an event in the log")
    time.sleep(0.3)  # a second event would be wrong, and follow at once
    [line] = events()
    return line


def logs_in(server: Server, name: str) -> bool:
    with Pop3(server.pop3) as session:
        return session.login(f"{name}@example.org", PASSWORD).startswith(b"+OK")


def receives(server: Server, address: str) -> bool:
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<%s>" % SENDER.encode(), b"250")
        return session.ask(b"RCPT TO:<%s>" % address.encode()).startswith(b"250")


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o604, 0o640, 0o600])
def test_secrets_that_everybody_can_read(make_server: Makes, mode: int) -> None:
    server = make_server()
    server.config.chmod(mode)
    server.start()
    warns = int(mode & 0o006 != 0)
    assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
    # at the start, and at the reload
    assert server.log.count(f"{server.config}: {EXPOSED}chmod o-rwx {server.config}") == 2 * warns
    server.config.chmod(0o640)
    assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
    assert server.log.count(EXPOSED) == 2 * warns


def test_new_account_without_a_restart(server: Server) -> None:
    assert not logs_in(server, "dora")
    pid = server.pid
    alice = Mailbox(server, "alice")
    alice.fill(MESSAGES["plain"])
    with alice.login() as session:
        server.configure(configuration(accounts=MORE))
        reload(server)
        assert logs_in(server, "dora")
        dora = Mailbox(server, "dora")
        dora.fill(MESSAGES["dots"])
        assert len(dora.messages()) == 1
        session.expect(b"STAT", b"+OK 1 ")  # and sessions live on
        session.expect(b"QUIT", b"+OK")
    assert server.pid == pid
    assert server.process is not None
    assert server.process.poll() is None


def test_removed_account_and_changed_routes(server: Server) -> None:
    assert receives(server, "sales@example.org")
    tables = '[[alias]]\naddress = "shop@example.org"\nto = ["alice@example.org"]\n'
    server.configure(configuration(accounts=ACCOUNTS[:2], tables=tables))
    reload(server)
    for address, known in (
        ("shop", True),
        ("alice", True),
        ("sales", False),
        ("club", False),
        ("carol", False),
    ):
        assert receives(server, f"{address}@example.org") is known, address
    assert not logs_in(server, "carol")


def test_limits_change(server: Server) -> None:
    server.configure(configuration(tables="[smtp]\nmax_message_size = 77777\n"))
    reload(server)
    with Smtp(server.smtp) as session:
        assert b"SIZE 77777" in session.ask(b"EHLO client.example")


def test_wrong_configuration_keeps_the_old_one(server: Server) -> None:
    server.configure(configuration(accounts=MORE, tables="[smtp]\nmax_recipient = 5\n"))
    assert "max_recipient" in reload(server)
    assert logs_in(server, "alice")
    assert not logs_in(server, "dora")
    assert receives(server, "sales@example.org")

    server.config.unlink()
    assert str(server.config) in reload(server)
    assert logs_in(server, "alice")

    server.configure(configuration(accounts=MORE))
    reload(server)
    assert logs_in(server, "dora")


def test_what_needs_a_restart_is_named(make_server: Makes) -> None:
    server = make_server().start()
    text = configuration(accounts=MORE, listen=[("smtp", "tcp:0:interface=127.0.0.1")])
    server.configure(text.replace('data = "data"', 'data = "elsewhere"'))
    event = reload(server)
    assert "listen" in event
    assert "data" in event
    assert logs_in(server, "dora"), "the POP3 port is still there, and the rest is in force"


def test_what_the_next_start_would_refuse_is_refused_now(server: Server) -> None:
    for listen in ([("web", "tcp:0:interface=0.0.0.0")], [("smtp", "nonsense:0")]):
        server.configure(configuration(accounts=MORE, listen=listen))
        assert "listen[1]" in reload(server)
        assert not logs_in(server, "dora")


def test_the_name_of_the_server_stays_until_the_next_start(server: Server) -> None:
    server.configure(configuration(accounts=MORE).replace("mail.example.org", "new.example.org"))
    assert "hostname" in reload(server)
    with Smtp(server.smtp) as session:
        assert session.greeting.startswith(b"220 mail.example.org ")
    assert logs_in(server, "dora")


# ------------------------------------------------------------ all of it, or nothing


class Renewed:
    """A server whose certificate, mechanisms and largest message change while it runs."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.authority = make_ca(folder)
        self.old, self.new = (self.authority.issue(HOSTNAME) for _ in range(2))
        self.configure(self.old, "PLAIN", 100_000)
        server.start()
        self.context = ssl.create_default_context(cafile=self.authority.path)

    def configure(self, pair: Issued, mechanism: str, size: int, rest: str = "") -> None:
        tables = f"""
            [tls]
            certificate = "{pair.certificate}"
            private_key = "{pair.private_key}"
            [auth]
            mechanisms = ["{mechanism}"]
            [smtp]
            max_message_size = {size}
            {rest}
        """
        self.server.configure(configuration(listen=[(*BOTH[0], "starttls")], tables=tables))

    def told(self) -> tuple[bytes, str, int]:
        """The certificate, the mechanisms and the size that the next client sees."""
        with Smtp(self.server.smtp) as session:
            session.expect(b"STARTTLS", b"220 ")
            session.begin_tls(self.context)
            lines = session.expect(b"EHLO client.example", b"250").decode().splitlines()
            assert isinstance(session.socket, ssl.SSLSocket)
            shown = session.socket.getpeercert(binary_form=True)
            extensions = dict(line[4:].partition(" ")[::2] for line in lines)
            session.expect(b"QUIT", b"221 ")
            return shown, extensions["AUTH"], int(extensions["SIZE"])  # type: ignore[return-value]

    def by_command(self) -> tuple[int, str]:
        """``mailserver reload``: its status and what it said, which the log has as well."""
        status, out, err = mailserver(self.server, "reload")
        [line] = [line.removeprefix("mailserver: ") for line in out + err]
        assert len(self.server.logged(line)) == 1
        return status, line

    def by_signal(self) -> tuple[int, str]:
        before = len(self.server.log)
        self.server.signal(signal.SIGHUP)
        outcome = re.compile(r"configuration (?:reloaded|refused).*")
        found = wait_until(lambda: outcome.search(self.server.log[before:]), "the outcome")
        return int("refused" in found[0]), found[0]


@pytest.mark.parametrize("reload", [Renewed.by_command, Renewed.by_signal])
def test_a_reload_changes_it_all_or_nothing(
    make_server: Makes, tmp_path: Path, reload: Callable[[Renewed], tuple[int, str]]
) -> None:
    renewed = Renewed(make_server(), tmp_path)
    assert renewed.told() == (renewed.old.der, "PLAIN", 100_000)
    with Smtp(renewed.server.smtp) as before:
        renewed.configure(renewed.new, "LOGIN", 200_000)
        status, said = reload(renewed)
        assert (status, said) == (0, "configuration reloaded")
        assert renewed.told() == (renewed.new.der, "LOGIN", 200_000)
        # a connection keeps what it began with
        assert b"SIZE 100000" in before.expect(b"EHLO client.example", b"250")

    broken = renewed.authority.issue(HOSTNAME)
    broken.certificate.write_bytes(renewed.old.certificate.read_bytes())  # of another key
    renewed.configure(broken, "PLAIN", 300_000)
    status, said = reload(renewed)
    assert status == 1
    assert said.startswith("configuration refused, the old one stays in force: ")
    assert "tls.private_key: " in said
    assert renewed.told() == (renewed.new.der, "LOGIN", 200_000)

    renewed.configure(renewed.new, "PLAIN", 300_000, '[log]\nformat = "json"')
    status, said = reload(renewed)
    assert (status, said) == (0, "configuration reloaded, but a restart is needed for: log")
    assert renewed.told() == (renewed.new.der, "PLAIN", 300_000)
