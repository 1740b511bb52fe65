"""What scanners find on every port, with a certificate of either kind: nothing.

docs/security.md shows what they print. For each check there is a server here that fails it.
"""

import contextlib
import re
import socketserver
import ssl
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.e2e.dialogue import HOSTNAME
from tests.support.e2e.scanners import SERVICES, nmap, nmap_tls, output, sslscan
from tests.support.e2e.server import ACCOUNTS, Server, configuration
from tests.support.tls_material import make_ca

pytestmark = pytest.mark.slow

# The kind of key, by the name that its certificate is for.
NAMES = {HOSTNAME: "ECDSA", "rsa.example.org": "RSA"}
PORTS = tuple(SERVICES)
RELAYS_NOTHING = "Server doesn't seem to be an open relay, all tests failed"
NEEDS_LOGIN = "Server isn't an open relay, authentication needed"
FINDS_NOBODY = "Couldn't find any accounts"
ALLOW_RENEGOTIATION = 1 << 8  # OpenSSL 3's SSL_OP_ALLOW_CLIENT_RENEGOTIATION
ASKS_IN_VAIN = "Couldn't perform user enumeration, authentication needed"


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with both certificates, for which this machine is a stranger: it may relay nothing."""
    folder = tmp_path_factory.mktemp("scanned")
    certificates = folder / "certificates"
    certificates.mkdir()
    authority = make_ca(certificates)
    first, second = (
        authority.issue(name, key=rsa.generate_private_key(65537, 2048) if kind == "RSA" else None)
        for name, kind in NAMES.items()
    )
    tables = (
        f'[tls]\ncertificate = "{first.certificate}"\nprivate_key = "{first.private_key}"\n'
        f'[[certificate]]\ncertificate = "{second.certificate}"\nprivate_key = "{second.private_key}"\n'
        f'[[list]]\naddress = "club"\nmembers = ["alice"]\n'
        "[relay]\nnetworks = []\n"
    )
    listen = [(protocol, "tcp:0:interface=127.0.0.1", tls) for protocol, tls in PORTS]
    server = Server(folder, configuration(listen=listen, plaintext_auth=False, tables=tables))
    try:
        yield server.start()
    finally:
        server.finish()


@pytest.mark.parametrize("name", NAMES)
def test_sslscan_finds_nothing_old_or_weak(scanned: Server, tmp_path: Path, name: str) -> None:
    for port in PORTS:
        seen = sslscan(tmp_path, scanned.address(*port), SERVICES[port], name)
        assert seen.ciphers == {
            "TLSv1.3": ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"],
            "TLSv1.2": [
                f"ECDHE-{NAMES[name]}-{cipher}"
                for cipher in ("AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256")
            ],
        }
        assert seen.amiss == []


@pytest.mark.parametrize("name", NAMES)
def test_nmap_grades_every_cipher_a(scanned: Server, tmp_path: Path, name: str) -> None:
    for port in PORTS:
        seen = nmap_tls(tmp_path, scanned.address(*port), SERVICES[port], name)
        assert seen.ciphers == {
            "TLSv1.2": [
                f"TLS_ECDHE_{NAMES[name]}_WITH_{cipher}"
                for cipher in ("AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256", "AES_128_GCM_SHA256")
            ],
            "TLSv1.3": [
                f"TLS_AKE_WITH_{cipher}"
                for cipher in ("AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256", "AES_128_GCM_SHA256")
            ],
        }
        assert seen.amiss == []


@pytest.mark.parametrize(
    ("port", "relay", "names"),
    [
        (("smtp", "starttls"), RELAYS_NOTHING, FINDS_NOBODY),
        (("submission", "starttls"), NEEDS_LOGIN, ASKS_IN_VAIN),
        (("submission", "implicit"), NEEDS_LOGIN, ASKS_IN_VAIN),
    ],
    ids=["smtp", "submission", "submissions"],
)
def test_nmap_finds_no_open_relay_and_no_name(
    scanned: Server, tmp_path: Path, port: tuple[str, str], relay: str, names: str
) -> None:
    scripts = {"smtp-open-relay": "", "smtp-commands": "", "smtp-enum-users": trying_names(tmp_path)}
    found = nmap(tmp_path, scanned.address(*port), SERVICES[port], scripts)
    assert output(found["smtp-open-relay"]) == relay
    assert output(found["smtp-enum-users"]).strip() == names
    listed = output(found["smtp-commands"]).splitlines()[0].split(", ")
    secure = port[1] == "implicit"
    assert [line for line in listed if line.startswith(("AUTH", "STARTTLS"))] == [
        "AUTH PLAIN LOGIN" if secure else "STARTTLS"
    ]
    # what tells strangers too much, or lets them do too much
    assert not {word for line in listed for word in line.split()} & {
        "VRFY",
        "EXPN",
        "ETRN",
        "TURN",
        "XCLIENT",
    }
    assert not [*scanned.data.glob("mail/**/new/*")]


@pytest.mark.parametrize(
    ("tls", "expected"),
    [("starttls", {"STLS"}), ("implicit", {"USER", "SASL(PLAIN LOGIN)"})],
)
def test_nmap_finds_no_password_in_the_clear(
    scanned: Server, tmp_path: Path, tls: str, expected: set[str]
) -> None:
    found = nmap(tmp_path, scanned.address("pop3", tls), SERVICES["pop3", tls], {"pop3-capabilities": ""})
    listed = set(re.findall(r"[A-Z0-9-]+(?:\(.*?\))?", output(found["pop3-capabilities"])))
    assert {line for line in listed if line.startswith(("STLS", "USER", "SASL", "APOP"))} == expected
    assert "IMPLEMENTATION(mailserver)" in listed, "no version is told before a login"


# Controls


def test_the_scanners_know_an_old_server(tmp_path: Path) -> None:
    issued = make_ca(tmp_path).issue("localhost", key=rsa.generate_private_key(65537, 2048))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("AES128-SHA:AECDH-AES128-SHA:@SECLEVEL=0")
    context.options |= ALLOW_RENEGOTIATION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.load_cert_chain(issued.certificate, issued.private_key)
    with serving(Old) as server:
        server.context = context
        seen = sslscan(tmp_path, server.address, "smtps", "localhost")
        assert {"TLSv1.0", "TLSv1.1"} <= seen.ciphers.keys()
        assert "renegotiation" in seen.amiss
        assert "AECDH-AES128-SHA is anonymous" in seen.amiss
        seen = nmap_tls(tmp_path, server.address, "smtps", "localhost")
        assert {"TLSv1.0", "TLSv1.1"} <= seen.ciphers.keys()
        assert "TLS_ECDH_anon_WITH_AES_128_CBC_SHA is F" in seen.amiss
        assert "the client chooses the cipher" in seen.amiss


def test_nmap_knows_an_open_relay(tmp_path: Path) -> None:
    with serving(Agreeable) as server:
        scripts = {"smtp-open-relay": "", "smtp-enum-users": trying_names(tmp_path)}
        found = nmap(tmp_path, server.address, "smtp", scripts)
    # 16 ways to ask for it, and each of them granted
    assert output(found["smtp-open-relay"]).startswith("Server is an open relay (16/16 tests)")
    assert set(output(found["smtp-enum-users"]).split()) >= set(ACCOUNTS)


class BadServer(socketserver.ThreadingTCPServer):
    """Does what it should not, as its handler says."""

    daemon_threads = True
    context: ssl.SSLContext

    @property
    def address(self) -> tuple[str, int]:
        """Where it is."""
        return "127.0.0.1", self.socket.getsockname()[1]


class Old(socketserver.BaseRequestHandler):
    """A server that takes any TLS, and goes on with it as long as the client likes."""

    server: BadServer

    def handle(self) -> None:
        with (
            contextlib.suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as client,
        ):
            while client.recv(1024):
                client.sendall(b"+OK\r\n")


class Agreeable(socketserver.StreamRequestHandler):
    """An SMTP server that says yes to everything."""

    def handle(self) -> None:
        self.wfile.write(b"220 open.example ESMTP\r\n")
        for line in self.rfile:
            self.wfile.write(b"250 Ok\r\n")
            if line.startswith(b"QUIT"):
                return


@contextlib.contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[BadServer]:
    with BadServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def trying_names(folder: Path) -> str:
    """The arguments for smtp-enum-users: names that there are, and one that there is not."""
    names = folder / "names"
    names.write_text("\n".join([*ACCOUNTS, "club", "nobody", ""]))
    return f"smtp-enum-users.methods={{VRFY,EXPN}},smtp-enum-users.domain=example.org,userdb={names}"
