"""Certificates for 6 days, replaced again and again while clients of others connect with TLS all the time.

The clients are smtplib, poplib and ``openssl s_client``. They check the certificate.
"""

import poplib
import smtplib
import ssl
import subprocess
import threading
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.support.e2e.dialogue import HOSTNAME
from tests.support.e2e.hurried import ALONE, launch_hurried
from tests.support.e2e.programs import need
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration, wait_until
from tests.support.tls_material import make_ca

pytestmark = pytest.mark.slow

RENEWALS = 6
ROUNDS = 2  # that every client goes between two renewals
PORT = "tcp:0:interface=127.0.0.1"
LISTEN = (("smtp", PORT, "starttls"), ("submission", PORT, "implicit"), ("pop3", PORT, "implicit"))
# As Let's Encrypt issues them: for 160 hours, of which one is over.
BEGINS, ENDS = timedelta(hours=-1), timedelta(hours=159)


def fetch(name: str, server: Server, context: ssl.SSLContext) -> bytes | None:
    """poplib: logs in over TLS; returns the certificate."""
    client = poplib.POP3_SSL(*server.pop3, context=context, timeout=60)
    client.user(name)
    client.pass_(PASSWORD)
    client.stat()
    shown = client.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]
    client.quit()
    return bytes(shown)


def send(server: Server, context: ssl.SSLContext) -> bytes | None:
    """smtplib: a message after STARTTLS."""
    with smtplib.SMTP(*server.smtp, timeout=60) as client:
        client.starttls(context=context)
        client.sendmail("bob@example.net", ["alice@example.org"], "Subject: hello\r\n\r\nGood morning.\r\n")
        assert isinstance(client.sock, ssl.SSLSocket)
        return client.sock.getpeercert(binary_form=True)


def shake_hands(server: Server, authority: Path) -> bytes | None:
    """openssl: a handshake at the submission port."""
    host, port = server.address("submission")
    words = ["s_client", "-connect", f"{host}:{port}", "-servername", HOSTNAME, "-verify_return_error"]
    words += ["-verify_hostname", HOSTNAME, "-CAfile", str(authority), "-quiet"]
    done = subprocess.run([need("openssl"), *words], input=b"QUIT\r\n", capture_output=True, timeout=60)
    assert done.returncode == 0 and b"220 " in done.stdout, done.stderr.decode()
    return None


class Busy(threading.Thread):
    """Connects again and again."""

    def __init__(self, connect: Callable[[], bytes | None]) -> None:
        super().__init__()
        self._connect = connect
        self.shown: list[bytes | None] = []
        self.failure = ""
        self.ending = threading.Event()

    def run(self) -> None:
        try:
            while not self.ending.is_set():
                self.shown.append(self._connect())
        except Exception:  # noqa: BLE001 - told by the thread that waits
            self.failure = traceback.format_exc()


@pytest.mark.one_process(ALONE)
def test_no_connection_fails(make_server: Makes, tmp_path: Path) -> None:
    need("openssl")
    authority = make_ca(tmp_path)
    live = tmp_path / "live"
    ders: list[bytes] = []

    def renew() -> None:
        """Put a new certificate and its key in place, in one moment."""
        issued = authority.issue(HOSTNAME, begins=BEGINS, ends=ENDS)
        folder, link = tmp_path / f"archive{len(ders)}", tmp_path / "link"
        folder.mkdir()
        issued.put(folder / "fullchain.pem", folder / "privkey.pem")
        link.symlink_to(folder)
        link.replace(live)
        ders.append(issued.der)

    renew()
    tables = f'[tls]\ncertificate = "{live}/fullchain.pem"\nprivate_key = "{live}/privkey.pem"\n'
    tables += '[limits]\nexempt = ["127.0.0.0/8"]\n[policy]\nexempt = ["127.0.0.0/8"]\n'
    server = make_server(configuration(listen=LISTEN, tables=tables), launch=launch_hurried)
    server.config.chmod(0o640)
    server.start()
    pid = server.pid
    context = ssl.create_default_context(cafile=str(authority.path))
    context.check_hostname = False  # they connect to an address; s_client checks the name
    clients = [Busy(partial(fetch, name, server, context)) for name in ("bob", "carol")]
    clients += [Busy(partial(send, server, context)) for _ in range(2)]
    clients += [Busy(partial(shake_hands, server, authority.path))]

    def go_on() -> None:
        """Return when all clients have gone some more rounds."""
        goals = [(client, len(client.shown) + ROUNDS) for client in clients]

        def done() -> bool:
            assert [client.failure for client in clients] == [""] * len(clients)
            return all(len(client.shown) >= goal for client, goal in goals)

        wait_until(done, "all clients")

    for client in clients:
        client.start()
    try:
        for _ in range(RENEWALS):
            go_on()
            renew()
            wait_until(lambda: server.log.count("certificate in force") == len(ders), "the new one")
        go_on()
    finally:
        for client in clients:
            client.ending.set()
        for client in clients:
            client.join(60)
    assert [client.failure for client in clients] == [""] * len(clients)
    for client in clients[:-1]:
        assert list(dict.fromkeys(client.shown)) == ders, "each was shown, in order"
    assert server.pid == pid
    assert "#warn" not in server.log and "#error" not in server.log, server.log
