"""``openssl s_client`` over loopback: another implementation's view of what is served."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from OpenSSL import SSL

from mailserver.net.pairs import PairFiles, read_pair
from mailserver.net.tls import binding, server_options
from tests.support.tls_material import make_ca


class Server(threading.Thread):
    """Serves one client: says nothing, and keeps what it has said."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.ca = make_ca(folder)
        issued = self.ca.issue("mail.example.org")
        pair = read_pair(PairFiles("tls", issued.certificate, issued.private_key))
        self.context = server_options([pair]).getContext()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.exported: bytes | None = None
        self.said = b""

    def run(self) -> None:
        plain, _ = self.listening.accept()
        with closing(plain):
            # A socket with a timeout does not block, and pyOpenSSL would raise WantReadError.
            plain.settimeout(None)
            server = SSL.Connection(self.context, plain)
            server.set_accept_state()
            try:
                server.do_handshake()
                self.exported = binding(server, "tls-exporter")
                while True:
                    self.said += server.recv(4096)
            except SSL.Error:
                return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    # If nobody has come it still waits for a client.
    socket.create_connection(("127.0.0.1", server.port)).close()
    server.join(10)
    server.listening.close()
    assert not server.is_alive()


def s_client(server: Server, *options: str, say: bytes = b"Q\n") -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", str(server.ca.path)]
    return subprocess.run([*command, *options], input=say, capture_output=True, timeout=20)


def test_it_is_verified(server: Server) -> None:
    end = s_client(server, "-verify_return_error", "-verify_hostname", "mail.example.org", "-brief")
    assert b"Verification: OK" in end.stdout + end.stderr
    assert b"TLSv1.3" in end.stdout + end.stderr


def test_no_compression_and_no_renegotiation(server: Server) -> None:
    end = s_client(server, "-tls1_2", say=b"R\n")
    assert b"Compression: NONE" in end.stdout
    assert b"RENEGOTIATING" in end.stdout + end.stderr
    assert b"no renegotiation" in end.stderr
    server.join(10)
    assert server.said == b""


def test_the_channel_binding_is_the_same_at_both_ends(server: Server) -> None:
    end = s_client(server, "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32")
    server.join(10)
    assert server.exported is not None
    assert f"Keying material: {server.exported.hex().upper()}".encode() in end.stdout


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(server: Server, version: str) -> None:
    end = s_client(server, version, "-cipher", "ALL:@SECLEVEL=0")
    assert end.returncode != 0
    assert b"alert protocol version" in end.stderr
