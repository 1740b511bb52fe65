"""``mailserver dns`` as a process: its zone file loads, and it finds what is published."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.dns_zone import DnsZone, printed_records
from tests.support.e2e.commands import in_process
from tests.support.e2e.programs import need
from tests.support.e2e.server import ROOT, Makes, configuration, wait_until
from tests.support.tls_material import make_ca

LISTEN = (
    ("submission", "tcp:465", "implicit"),
    ("submission", "tcp:587:interface=127.0.0.1", "starttls"),
    ("pop3", "tcp6:995", "implicit"),
    ("pop3", "tcp:110", "none"),
)
ADDRESSES = ("--address", "192.0.2.25", "--address", "2001:DB8::25")
SOA = "@ 60 IN SOA ns.example.net. admin.example.net. 1 3600 600 86400 60\n@ 60 IN NS ns.example.net.\n"


def dns(config: Path, *words: str, status: int | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mailserver", *words, "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done.stdout or done.stderr


@pytest.fixture
def zone() -> Iterator[DnsZone]:
    with DnsZone("else.example A 192.0.2.1") as zone:
        yield zone


@pytest.fixture
def config(make_server: Makes, zone: DnsZone, tmp_path: Path) -> Path:
    """A configuration with a certificate and the keys that ``mailserver dkim make`` makes."""
    issued = make_ca(tmp_path).issue("mail.example.org")
    tables = f"""
[tls]
certificate = "{issued.certificate}"
private_key = "{issued.private_key}"
[dns]
servers = ["{zone.address}"]
"""
    text = configuration(listen=LISTEN, tables=tables)
    config = make_server(text).config
    made = dns(config, "dkim", "make", "example.org", status=0)
    sections = re.findall(r"\[\[dkim\]\]\n(?:\w+ = .*\n)+", made)
    config.write_text("\n".join([text, *sections]))
    return config


@pytest.mark.slow
def test_from_nothing_to_all(config: Path, zone: DnsZone) -> None:
    printed = dns(config, "dns", "example.org", *ADDRESSES, status=1)
    assert "; missing    example.org. MX: Mail goes to" in printed
    assert "; 14 of 18 records: somebody must act." in printed
    records = printed_records(printed)
    assert len(records) == 18
    zone.add(*records)
    found = dns(config, "dns", "example.org", *ADDRESSES, status=0)
    assert "; All needed records are right." in found and found.count("\n; right ") == 18
    assert printed_records(found) == records
    # The address is known from DNS, too.
    assert "; right      mail.example.org. A" in dns(config, "dns", "EXAMPLE.org.", status=0)
    zone.remove("example.org", "MX")
    zone.add("example.org MX 10 \\010evil.example.net")
    changed = dns(config, "dns", "example.org", *ADDRESSES, status=1)
    assert "it has: 10 \\010evil.example.net." in changed and "; 2 of 18 records" in changed
    assert "; different  example.org. TXT: Your mail from" in changed  # SPF names the hosts of MX


def test_the_zone_file_loads(config: Path, tmp_path: Path) -> None:
    program = need("named-checkzone")
    for words in (("dns", "example.org", *ADDRESSES), ("dns", "example.org", "--zone", *ADDRESSES)):
        file = tmp_path / "zone"
        file.write_text(SOA + dns(config, *words))
        # The address of the name server is elsewhere; that of mail.example.org is checked.
        done = subprocess.run(
            [program, "-i", "local", "-o", "-", "example.org", file],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        loaded = " ".join(done.stdout.split())
        for part in (
            "MX 10 mail.example.org.",
            "SRV 0 1 465 mail.example.org.",
            "AAAA 2001:db8::25",
            "TLSA 3 1 1",
        ):
            assert part in loaded
        assert not re.search(r"ignoring|warning|bad", done.stderr, re.IGNORECASE), done.stderr


def test_the_zone_file_of_a_domain_of_another_host_loads(make_server: Makes, tmp_path: Path) -> None:
    program = need("named-checkzone")
    server = make_server(configuration())
    file = tmp_path / "zone"
    file.write_text(SOA + dns(server.config, "dns", "example.com", "--zone", *ADDRESSES))
    checked = subprocess.run([program, "example.com", file], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and "ignoring" not in checked.stdout + checked.stderr, checked
    assert ";mail.example.org. IN A 192.0.2.25" in file.read_text()


def test_json(config: Path, zone: DnsZone) -> None:
    found = json.loads(dns(config, "dns", "example.org", "--json", *ADDRESSES, status=1))
    assert (found["domain"], found["hostname"], found["problems"]) == ("example.org", "mail.example.org", 14)
    assert found["addresses"] == ["192.0.2.25", "2001:db8::25"]
    assert found["sts_policy"]["content"].startswith("version: STSv1\n")
    first = found["records"][0]
    assert (first["name"], first["type"], first["data"]) == ("example.org", "MX", "10 mail.example.org.")
    assert (first["state"], first["there"]) == ("missing", [])
    unasked = len(zone.asked)
    [first, *_] = json.loads(dns(config, "dns", "example.org", "--json", "--zone", status=0))["records"]
    assert "state" not in first and len(zone.asked) == unasked


@pytest.mark.slow
def test_without_an_answer_the_zone_is_printed(config: Path, zone: DnsZone) -> None:
    text = config.read_text()
    expected = printed_records(dns(config, "dns", "example.org", "--zone", *ADDRESSES, status=0))
    config.write_text(text.replace(zone.address, "127.0.0.1:9"))
    printed = dns(config, "dns", "example.org", *ADDRESSES, status=1)
    assert printed_records(printed) == expected
    assert "; Nothing is checked, because DNS does not answer. DNS lookup of example.org (MX)" in printed


def test_what_the_configuration_lacks(make_server: Makes, tmp_path: Path) -> None:
    server = make_server(configuration(tables='[tls]\ncertificate = "no.pem"\nprivate_key = "no.pem"\n'))
    printed = dns(server.config, "dns", "elsewhere.example", "--zone", *ADDRESSES, status=0)
    assert "WARNING: elsewhere.example is not in domains" in printed
    assert "no.pem: No such file or directory" in " ".join(printed.replace("\n;", "").split())
    assert " TLSA " not in printed_records(printed)
    assert "mailserver dkim make elsewhere.example" in printed


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        ((), 2, "Missing argument 'DOMAIN'"),
        (("exa mple",), 2, 'allowed: a domain name such as "example.org"'),
        (("example.org", "--address", "192.0.2.256"), 2, "allowed: an IP"),
        (("example.org", "--address", "fe80::1%eth0"), 2, "allowed: an IP"),
        (("example.org", "--hostname"), 1, 'the hostname in'),
    ],
)  # fmt: skip
def test_wrong_usage(make_server: Makes, words: tuple[str, ...], status: int, text: str) -> None:
    server = make_server(configuration())
    if "--hostname" in words:
        words = words[:1]
        server.configure(configuration().replace("mail.example.org", "localhost"))
    error = dns(server.config, "dns", *words, status=status)
    assert text in error and error.count("\n") == 1


def test_a_domain_below_is_signed_by_the_keys_of_the_one_above(config: Path) -> None:
    text = config.read_text()
    config.write_text(
        text.replace('domains = ["example.org"]', 'domains = ["example.org", "sub.example.org"]')
    )
    status, lines, _ = in_process("dns", "sub.example.org", "--zone", *ADDRESSES, "--config", str(config))
    records = printed_records("\n".join(lines))
    assert status == 0 and not any("WARNING" in line for line in lines)
    assert sum("._domainkey.example.org TXT" in record for record in records) == 2
    assert "sub.example.org MX 10 mail.example.org." in records


def test_the_certificate_is_the_one_for_the_hostname(make_server: Makes, tmp_path: Path) -> None:
    authority = make_ca(tmp_path)
    other, ours = authority.issue("other.example"), authority.issue("*.example.org")
    tables = "".join(
        f'[{table}]\ncertificate = "{one.certificate}"\nprivate_key = "{one.private_key}"\n'
        for table, one in (("tls", other), ("[certificate]", ours))
    )
    config = make_server(configuration(tables=tables)).config
    _, lines, _ = in_process("dns", "example.org", "--zone", "--config", str(config))
    key = x509.load_der_x509_certificate(ours.der).public_key()
    digest = sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    assert f"_25._tcp.mail.example.org TLSA 3 1 1 {digest}" in printed_records("\n".join(lines))


def test_an_interrupt_ends_it_at_once(config: Path, zone: DnsZone) -> None:
    zone.faults["example.org"] = "silence"
    process = subprocess.Popen(
        [sys.executable, "-m", "mailserver", "dns", "example.org", *ADDRESSES, "--config", str(config)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: ("example.org", "MX", "udp") in zone.asked, "the first query")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err.split()) == (1, "", ["mailserver:", "aborted"])
