"""``mailserver doctor`` as a process: beside a server without trouble, and with a real mail server."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mailserver.app.doctor.kinds import SECTIONS
from tests.support.dns_zone import DnsZone
from tests.support.docs.blocks import blocks
from tests.support.docs.commands import administer
from tests.support.doctor.site import HASH, HOSTNAME, LIST, publish
from tests.support.e2e.commands import in_process
from tests.support.e2e.server import ROOT, WORKERS, Makes, Server, configuration
from tests.support.real_servers.exim import Exim
from tests.support.real_servers.process import HOST, RealServer
from tests.support.tls_material import make_ca, write_key

PAGE = ROOT / "docs" / "doctor.md"
LISTEN = (
    ("smtp", "tcp:0:interface=127.0.0.1", "starttls"),
    ("submission", "tcp:0:interface=127.0.0.1", "implicit"),
    ("pop3", "tcp:0:interface=127.0.0.1", "starttls"),
)
TABLES = """
alias = [{{ address = "abuse", to = ["alice"] }}]
dnsbl = [{{ zone = "{list}" }}]
dkim = [{{ domain = "example.org", selector = "s1", key = "s1.pem" }}]
[relay]
networks = ["10.0.0.0/8"]
source_address = ["127.0.0.1"]
{routes}
[smtp]
max_message_size = "1 MiB"
[limits]
connections = 100
[queue]
connections = 10
[dns]
servers = ["{dns}"]
[tls]
certificate = "fullchain.pem"
private_key = "privkey.pem"
"""
# The tests may run as root, and the kernel may not know whether its clock is right.
OF_THE_MACHINE = {"root-allowed", "clock-unsynchronised"}
if (os.cpu_count() or 1) < WORKERS:
    OF_THE_MACHINE.add("many-workers")


@pytest.fixture
def zone() -> Iterator[DnsZone]:
    with DnsZone(f"2.0.0.127.{LIST} A 127.0.0.2") as zone:
        yield zone


@pytest.fixture
def make_site(
    make_server: Makes, zone: DnsZone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Server]:
    """Makes a server with all that it should have; it runs."""

    def make(routes: str = "") -> Server:
        authority = make_ca(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        tables = TABLES.format(list=LIST, dns=zone.address, routes=routes)
        # Inline tables come before all sections.
        first, _, rest = tables.partition("[relay]")
        text = configuration(
            top=f"allow_root = true\n{first}",
            listen=LISTEN,
            accounts=("alice",),
            passwords={"alice": HASH},
            plaintext_auth=False,
            tables=f"[relay]{rest}",
        )
        server = make_server(text)
        server.config.chmod(0o600)
        authority.issue(HOSTNAME).put(server.directory / "fullchain.pem", server.directory / "privkey.pem")
        write_key(server.directory / "s1.pem", Ed25519PrivateKey.generate())
        publish(zone, server.config, "192.0.2.25")
        zone.remove("_mta-sts.example.org", "TXT")  # the file needs a web server
        server.start()
        record = {
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "directory": str(tmp_path),
            "messages": 0,
        }
        (server.data / "last-backup.json").write_text(json.dumps(record))
        return server

    return make


def doctor(server: Server, *options: str) -> tuple[int, str]:
    """The exit status and the output."""
    done = subprocess.run(
        [sys.executable, "-m", "mailserver", "doctor", "--config", str(server.config), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def kinds(output: str) -> set[str]:
    return {one["kind"] for one in json.loads(output)["findings"]} - OF_THE_MACHINE


def test_a_server_without_trouble_and_then_without_life(
    make_site: Callable[..., Server], zone: DnsZone
) -> None:
    server = make_site()
    status, output = doctor(server, "--json")
    found = json.loads(output)
    assert kinds(output) == set(), output
    assert status == min(found["warnings"], 1) and not found["errors"]
    assert [one["subject"] for one in found["not_checked"]] == ["port 25 from outside"]
    [note] = found["notes"]
    assert "tested in a session from" in note
    assert "<relay-test@sender.invalid> to <relay-test@target.invalid>" in server.log
    server.stop()
    server.data.chmod(0o755)
    asked = len(zone.asked)
    status, output = doctor(server, "--offline")
    assert status == 1 and len(zone.asked) == asked
    assert f"error: server: no server runs on {server.data}" in output
    assert (
        f"warning: {server.data}: other users can look into it, its mode is 0755 [data-exposed]\n" in output
    )
    assert f"    chmod 700 {server.data}\n" in output
    assert "not checked: blocklists: --offline\n" in output


def test_wrong_usage() -> None:
    status, out, err = in_process("doctor", "--colour")
    assert (status, out, len(err)) == (2, [], 1)


@pytest.mark.slow
def test_the_page(make_site: Callable[..., Server], tmp_path: Path) -> None:
    server = make_site()
    commands = [block for block in blocks(PAGE) if block.kind == "sh"]
    first = administer(commands[0], server, tmp_path)
    assert "no problems found" in first or any(f"[{kind}]" in first for kind in OF_THE_MACHINE)
    for block in commands[1:]:
        administer(block, server, tmp_path)
    assert kinds((tmp_path / "doctor.json").read_text()) == set()


def test_the_page_has_all_kinds() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \| (error|warning|notice) \| (.*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE
    )
    assert rows == [
        (name, kind.severity, kind.meaning, kind.remedy)
        for found in SECTIONS.values()
        for name, kind in found.items()
    ]
    headings = [line[3:] for line in PAGE.read_text().splitlines() if line.startswith("## ")]
    assert headings[-len(SECTIONS) :] == list(SECTIONS)


@pytest.mark.slow
def test_a_route_to_another_mail_server(
    make_site: Callable[..., Server], make_real: Callable[..., Any]
) -> None:
    other: RealServer = make_real(Exim)
    other.start(1)
    server = make_site(routes=f'routes = {{ "far.example" = "{HOST}:{other.port}" }}')
    assert kinds(doctor(server, "--json")[1]) == set()
    other.stop()
    status, output = doctor(server)
    assert status == 1 and "error: relay.routes (far.example): mail for it waits in the queue: " in output
