"""A certificate that is renewed while mail is sent and read over TLS: nobody notices but by looking at it.

Clients of every port, each in one long session or in many short ones, are at work the whole time; every
reply that they get must be the right one, and every message that they send must arrive.
"""

import itertools
import shutil
import ssl
import threading
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import HOSTNAME, Pop3, Smtp
from tests.support.e2e.hurried import ALONE, launch_hurried
from tests.support.e2e.secured import LISTEN, Account
from tests.support.e2e.server import (
    PASSWORD,
    WORKERS,
    Makes,
    Server,
    configuration,
    launch_python,
    wait_until,
)
from tests.support.tls_material import Issued, make_ca

ROUNDS = 2  # that every client goes between two steps of a test
PAUSE = 0.01  # seconds between two rounds
BODY = b"one of many lines, for TLS to have something to do\r\n" * 100
MESSAGE = b"Subject: under load\r\n\r\n" + BODY


# ------------------------------------------------------------ clients


def send(session: Smtp, account: Account, authenticate: bool) -> Iterator[None]:
    """A message to oneself in each round."""
    session.expect(b"EHLO client.example", b"250")
    if authenticate:
        response = b64encode(f"\0{account.address}\0{account.password}".encode())
        session.expect(b"AUTH PLAIN " + response, b"235")
    while True:
        session.begin(account.address, account.address)
        session.send(MESSAGE)
        session.expect(b".", b"250")
        yield


def read(session: Pop3, account: Account) -> Iterator[None]:
    """The first message in each round."""
    reply = session.login(account.address, account.password)
    assert reply.startswith(b"+OK"), reply
    while True:
        assert session.multi(b"RETR 1").endswith(BODY)
        yield


def shown(session: Smtp | Pop3) -> int:
    """The serial number of the certificate that the server has shown on this connection."""
    assert isinstance(session.socket, ssl.SSLSocket)
    der = session.socket.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


class Client(threading.Thread):
    """Goes its rounds until it is told to end. ``serials`` are those that its connections have shown."""

    def __init__(self, account: Account, protocol: str, tls: str, *, long: bool) -> None:
        super().__init__(name=f"{protocol} {tls}, {'one session' if long else 'many sessions'}")
        self.account = account
        self.protocol = protocol
        self.tls = tls
        self.long = long
        self.rounds = 0
        self.serials: list[int] = []
        self.failure = ""
        self.ending = threading.Event()

    def run(self) -> None:
        try:
            while not self.ending.is_set():
                with self.account.connect(self.protocol, self.tls) as session:
                    self.serials.append(shown(session))
                    self.go_rounds(session)
                    session.expect(b"QUIT", b"221" if isinstance(session, Smtp) else b"+OK")
        except Exception:  # noqa: BLE001 - told by the thread that waits
            self.failure = traceback.format_exc()

    def go_rounds(self, session: Smtp | Pop3) -> None:
        if isinstance(session, Smtp):
            rounds = send(session, self.account, self.protocol == "submission")
        else:
            rounds = read(session, self.account)
        for _ in rounds:
            self.rounds += 1
            if self.ending.wait(PAUSE) or not self.long:
                break


class Load:
    """All clients: two for each port."""

    def __init__(self, accounts: Iterator[Account]) -> None:
        self.clients = [
            Client(next(accounts), protocol, tls, long=long)
            for protocol, _, tls in LISTEN
            for long in (True, False)
        ]

    def advance(self) -> None:
        """Return when all clients have gone some more rounds."""
        goals = [client.rounds + ROUNDS for client in self.clients]

        def reached() -> bool:
            for client in self.clients:
                assert not client.failure, f"{client.name}:\n{client.failure}"
            return all(client.rounds >= goal for client, goal in zip(self.clients, goals, strict=True))

        wait_until(reached, "all clients to go on")

    def shown(self) -> set[int]:
        """The serial numbers that new connections show now, one to each port."""
        found = set()
        for client in self.clients[::2]:
            with client.account.connect(client.protocol, client.tls) as session:
                found.add(shown(session))
        return found

    @contextmanager
    def working(self) -> Iterator[None]:
        for client in self.clients:
            client.start()
        try:
            self.advance()
            yield
            self.advance()
        finally:
            for client in self.clients:
                client.ending.set()
            for client in self.clients:
                client.join(30)
        assert not [client.failure for client in self.clients if client.failure or client.is_alive()]

    def check(self, serials: list[int]) -> None:
        """Long sessions have gone on; short ones were shown each certificate, none again after the next
        one; and what was sent has arrived."""
        for client in self.clients:
            seen = [serial for serial, _ in itertools.groupby(client.serials)]
            assert seen == (serials[:1] if client.long else serials), client.name
            assert len(client.serials) == 1 if client.long else len(client.serials) == client.rounds
            messages = client.account.messages()
            assert len(messages) == 1 + (0 if client.protocol == "pop3" else client.rounds)
            assert all(message.endswith(BODY) for message in messages)


# ------------------------------------------------------------ the files


class Site:
    """A server whose configuration names two files behind a link, as programs that renew want it."""

    def __init__(self, folder: Path, make: Makes, launch: Callable[..., list[str]]) -> None:
        self.folder = folder
        self.live = folder / "live"
        self.certificate, self.private_key = self.live / "fullchain.pem", self.live / "privkey.pem"
        self.authority = make_ca(folder)
        self.serials: list[int] = []
        self.switch(self.issue())
        tables = f'[tls]\ncertificate = "{self.certificate}"\nprivate_key = "{self.private_key}"\n'
        names = [f"client{number}" for number in range(2 * len(LISTEN))]
        config = configuration(listen=LISTEN, accounts=names, plaintext_auth=False, tables=tables)
        self.server = make(config, launch=launch)
        self.server.start()
        accounts = [Account(self.server, name, PASSWORD, self.authority) for name in names]
        for account in accounts:
            account.fill(MESSAGE)
        self.load = Load(iter(accounts))

    def issue(self) -> Issued:
        """The next pair, which counts as shown from the moment that it is put in place."""
        issued = self.authority.issue(HOSTNAME)
        self.serials.append(x509.load_pem_x509_certificate(issued.certificate.read_bytes()).serial_number)
        return issued

    def rename(self, source: Path, target: Path) -> None:
        """Put a copy of a file in the place of another, in one moment."""
        copy = self.folder / "copy"
        shutil.copy(source, copy)
        copy.replace(target)

    def switch(self, issued: Issued) -> None:
        """Let the link lead to a new folder with this pair: both files change in one moment."""
        folder = self.folder / f"archive{len(self.serials)}"
        folder.mkdir()
        issued.put(folder / self.certificate.name, folder / self.private_key.name)
        link = self.folder / "link"
        link.symlink_to(folder)
        link.replace(self.live)


def refused(server: Server, told: bool) -> None:
    """The pair does not come into force; the log says so, and so does the command, if there was one."""
    if told:
        status, out, [line] = mailserver(server, "reload")
        assert (status, out) == (1, [])
        assert "configuration refused, the old one stays in force: " in line
        assert "tls.private_key" in line
        server.logged(line.removeprefix("mailserver: "))
    else:
        wait_until(lambda: "the old certificate stays in force" in server.log, "the log to tell")


def in_force(server: Server, number: int, told: bool) -> None:
    """The certificate with this number, from 1, is used from now on."""
    if told:
        assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
    # once for each worker
    wait_until(lambda: server.log.count("certificate in force") >= number * WORKERS, "the new pair")
    assert server.log.count("certificate in force") == number * WORKERS


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(True, id="reload"),
        pytest.param(False, id="by itself", marks=[pytest.mark.slow, pytest.mark.one_process(ALONE)]),
    ],
)
def test_renewal_under_load(tmp_path: Path, make_server: Makes, told: bool) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    site = Site(folder, make_server, launch_python if told else launch_hurried)
    load, server, pid = site.load, site.server, site.server.pid
    with load.working():
        assert load.shown() == {site.serials[0]}

        # One file of the two: the pair does not fit together, and the old one stays.
        issued = site.issue()
        site.rename(issued.certificate, site.certificate)
        refused(server, told)
        load.advance()
        assert load.shown() == {site.serials[0]}

        # The other one.
        site.rename(issued.private_key, site.private_key)
        in_force(server, 2, told)
        assert load.shown() == {site.serials[1]}
        load.advance()

        site.switch(site.issue())
        in_force(server, 3, told)
        assert load.shown() == {site.serials[2]}
        load.advance()
    load.check(site.serials)
    assert server.pid == pid
