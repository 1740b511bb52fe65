"""Where aggregate reports go: addresses of other organizations have to agree (RFC 9990)."""

import pytest

from mailserver.mail.address import Address
from mailserver.policy.dmarc.destinations import ReportDestination, read_destination, report_destinations
from mailserver.policy.dmarc.record import read_dmarc
from tests.support.dkim import evaluated

CONSENT = "blue.example.com._report._dmarc.red.example.net"
OTHER = b"v=DMARC1; rua=mailto:b@red.example.net"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mailto:a@example.com", ("a@example.com", None)),
        ("MAILTO:a%2Bb@Example.com?subject=x", ("a+b@example.com", None)),
        ("mailto:a@example.com!50", ("a@example.com", 50)),
        ("mailto:a@example.com!10m", ("a@example.com", 10 << 20)),
        ("mailto:a@example.com!1K", ("a@example.com", 1024)),
        ("mailto:a@example.com!0", ("a@example.com", 0)),
        ("mailto:a%21b@example.com!1g", ("a!b@example.com", 1 << 30)),
        ("https://example.com/!10m", None),
        ("mailto:", None),
        ("mailto:a", None),
        ("mailto:a@[192.0.2.1]", None),
        ("mailto:%C3%BC@example.com", None),
        ("mailto:a%0d%0aTo:b@example.com", None),
    ],
)
def test_uris(uri: str, expected: tuple[str, int | None] | None) -> None:
    found = read_destination(uri)
    assert (None if found is None else (str(found.address), found.limit)) == expected


@pytest.mark.parametrize(("octets", "taken"), [(0, True), (1024, True), (1025, False)])
def test_limits(octets: int, taken: bool) -> None:
    address = Address("a", "example.com")
    assert ReportDestination(address, 1024).takes(octets) is taken
    assert ReportDestination(address).takes(octets)


@pytest.mark.parametrize(
    ("rua", "zone", "expected"),
    [
        # of the domain itself, and of its organization
        ("mailto:a@blue.example.com,mailto:b@example.com", {}, ["a@blue.example.com", "b@example.com"]),
        ("mailto:a@example.com", {}, ["a@example.com"]),
        ("mailto:a@green.example.com", {}, ["a@green.example.com"]),
        ("mailto:a@blue.example.com,mailto:a@blue.example.com!1k", {}, ["a@blue.example.com"]),
        # an organization of its own below the other one
        ("mailto:a@own.example.com", {"_dmarc.own.example.com": [b"v=DMARC1; psd=n"]}, []),
        ("mailto:a@green.example.com", {"_dmarc.green.example.com": None}, []),  # not known now
        # others, with or without their consent
        ("mailto:a@red.example.net", {}, []),
        ("mailto:a@red.example.net", {CONSENT: [b"v=DMARC1"]}, ["a@red.example.net"]),
        ("mailto:a@red.example.net", {CONSENT: [b"x", b"v=DMARC1;"]}, ["a@red.example.net"]),
        ("mailto:a@red.example.net", {CONSENT: [b"v=DMARC2", b"v=spf1"]}, []),
        ("mailto:a@red.example.net", {CONSENT: []}, []),
        ("mailto:a@red.example.net", {CONSENT: None}, []),
        ("mailto:a@red.example.net", {f"x.{CONSENT}": [b"v=DMARC1"]}, []),
        ("mailto:a@victim.example", {CONSENT: [b"v=DMARC1"]}, []),
        ("mailto:a@blue.example.com.evil.com", {}, []),
        # another address of the same host takes its place, one of another host does not
        ("mailto:a@red.example.net", {CONSENT: [OTHER]}, ["b@red.example.net"]),
        ("mailto:a@red.example.net", {CONSENT: [b"v=DMARC1; rua=mailto:b@victim.example"]}, []),
        ("mailto:a@red.example.net", {CONSENT: [b"v=DMARC1; rua=https://red.example.net/"]}, []),
        # the others get theirs
        ("https://x.example,mailto:a@victim.example,mailto:b@blue.example.com", {}, ["b@blue.example.com"]),
        (f"mailto:a@{'.'.join(['x' * 60] * 4)}", {}, []),  # the question would be too long
    ],
)  # fmt: skip
def test_destinations(rua: str, zone: dict[str, list[bytes] | None], expected: list[str]) -> None:
    known = {"_dmarc.blue.example.com": [b"v=DMARC1"], "_dmarc.example.com": [b"v=DMARC1"], **zone}
    record = read_dmarc(f"v=DMARC1; rua={rua}".encode(), "blue.example.com")
    assert record is not None
    assert [str(one.address) for one in evaluated(report_destinations(record), known)] == expected
