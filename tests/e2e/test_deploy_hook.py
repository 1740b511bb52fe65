"""The deploy hook of certbot: its copies, who can read them, and the reload of a running server."""

import grp
import os
import socket
import ssl
import stat
import subprocess
from pathlib import Path

from tests.support.e2e.commands import COMMAND, environment
from tests.support.e2e.dialogue import HOSTNAME
from tests.support.e2e.server import BOTH, ROOT, Makes, Server, configuration
from tests.support.tls_material import make_ca

HOOK = ROOT / "etc" / "certbot-deploy-hook"
LISTEN = (("pop3", BOTH[1][1], "implicit"),)


def shown(server: Server, authority: Path) -> bytes | None:
    """The certificate that the next client sees."""
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection(server.pop3, 30) as connection,
        context.wrap_socket(connection, server_hostname=HOSTNAME) as encrypted,
    ):
        return encrypted.getpeercert(binary_form=True)


def test_a_renewal_by_certbot(make_server: Makes, tmp_path: Path) -> None:
    authority = make_ca(tmp_path)
    lineage, copies = tmp_path / "live" / HOSTNAME, tmp_path / "etc" / "tls"
    lineage.mkdir(parents=True)
    tables = f"""[tls]
        certificate = "{copies}/{HOSTNAME}/fullchain.pem"
        private_key = "{copies}/{HOSTNAME}/privkey.pem"
    """
    server = make_server(configuration(listen=LISTEN, tables=tables))
    server.config.chmod(0o640)
    command = tmp_path / "mailserver"
    command.write_text(f"#!/bin/sh\nexec {COMMAND[0]} -c '{COMMAND[2]}' \"$@\" --config {server.config}\n")
    command.chmod(0o755)
    around = {
        **environment(),
        "RENEWED_LINEAGE": str(lineage),
        "RENEWED_DOMAINS": HOSTNAME,
        "TLS_DIRECTORY": str(copies),
        "TLS_GROUP": grp.getgrgid(os.getegid()).gr_name,
        "MAILSERVER": str(command),
        "PYTHONPATH": str(ROOT),
    }

    def renew() -> tuple[int, bytes, str]:
        """A renewal: the new certificate, and the end of the hook."""
        issued = authority.issue(HOSTNAME)
        issued.put(lineage / "fullchain.pem", lineage / "privkey.pem")
        done = subprocess.run(["sh", HOOK], env=around, capture_output=True, text=True, timeout=120)
        return done.returncode, issued.der, done.stdout + done.stderr

    status, first, said = renew()
    assert (status, said) == (1, f"mailserver: no server runs on {server.data}\n")
    server.start()
    assert shown(server, authority.path) == first
    for _ in range(2):
        status, certificate, said = renew()
        assert (status, said) == (0, "configuration reloaded\n")
        assert shown(server, authority.path) == certificate
    folder = copies / HOSTNAME
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {HOSTNAME: 0o750, "fullchain.pem": 0o640, "privkey.pem": 0o640}
    assert "#warn" not in server.log
