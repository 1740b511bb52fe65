"""Trouble with certificates, their keys, names, dates and chains."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from mailserver.app.doctor.findings import NotChecked
from tests.support.doctor.listener import HOSTNAME
from tests.support.doctor.site import DoctorSite, findings, outline
from tests.support.tls_material import Issued, make_ca, write_key
from tests.support.tls_material import make_key as make_tls_key


def issued(**options: object) -> Callable[[DoctorSite], Issued]:
    return lambda site: site.template.authority.issue(HOSTNAME, **options)  # type: ignore[arg-type]


def by_a_stranger(site: DoctorSite) -> Issued:
    return make_ca(site.folder).issue(HOSTNAME)


def without_the_middle(site: DoctorSite) -> Issued:
    made = site.template.authority.intermediate().issue(HOSTNAME)
    first = made.certificate.read_text().partition("-----END CERTIFICATE-----\n")
    made.certificate.write_text(first[0] + first[1])
    return made


def out_of_order(site: DoctorSite) -> Issued:
    made = site.template.authority.intermediate().issue(HOSTNAME)
    made.certificate.write_text(site.template.issued.certificate.read_text() + made.certificate.read_text())
    return Issued(made.certificate, site.template.issued.private_key)


def self_signed(site: DoctorSite) -> Issued:
    authority = make_ca(site.folder)
    key = site.folder / "own.pem"
    write_key(key, authority._key)
    return Issued(authority.path, key)


def other_key(site: DoctorSite) -> Issued:
    key = site.folder / "other.pem"
    write_key(key, make_tls_key())
    return Issued(site.template.issued.certificate, key)


DAY = timedelta(days=1)
CERTIFICATES: list[tuple[Callable[[DoctorSite], Issued], list[tuple[str, str]], str]] = [
    (issued(begins=-60 * DAY, ends=13 * DAY), [("warning", "certificate-expires")], "days"),
    (issued(begins=-5 * DAY, ends=4 * DAY), [], ""),  # a third of nine days is three
    (issued(begins=-4 * DAY, ends=timedelta(hours=30)), [("warning", "certificate-expires")], " hours, on "),
    (issued(begins=-2 * DAY, ends=-DAY), [("error", "certificate-invalid-now")], "has expired"),
    (issued(begins=DAY), [("error", "certificate-invalid-now")], "not valid before"),
    (lambda site: site.template.authority.issue("*.example.org"), [], ""),
    (lambda site: site.template.authority.issue("www.example.org"), [("error", "certificate-name")], "www."),
    (by_a_stranger, [("warning", "certificate-chain")], "authority is private"),
    (without_the_middle, [("warning", "certificate-chain")], "CN=intermediate CA"),
    (lambda site: site.template.authority.intermediate().issue(HOSTNAME), [], ""),
    (out_of_order, [("warning", "certificate-chain")], "out of order"),
    (self_signed, [("error", "certificate-name"), ("warning", "certificate-self-signed")], ""),
    (other_key, [("error", "certificate-unusable")], "does not belong"),
]


@pytest.mark.parametrize(("make", "expected", "text"), CERTIFICATES)
def test_a_certificate(
    site: DoctorSite, make: Callable[[DoctorSite], Issued], expected: list[tuple[str, str]], text: str
) -> None:
    make(site).put(site.folder / "fullchain.pem", site.folder / "privkey.pem")
    found = findings(site.run("certificates"))
    assert [(one.severity, one.kind) for one in found] == expected
    assert all(one.subject.startswith("tls.") for one in found)
    assert not text or text in found[0].text


def test_files_that_systemd_passes(site: DoctorSite) -> None:
    site.configure(
        '[tls]\ncertificate = "credential:fullchain.pem"\nprivate_key = "credential:privkey.pem"',
        'dkim = [{ domain = "example.org", selector = "s1", key = "credential:s1.pem" }]',
    )
    assert [one.subject for one in site.run("certificates") if isinstance(one, NotChecked)] == ["tls"]
    assert [one.subject for one in site.run("files") if isinstance(one, NotChecked)] == ["dkim[1].key"]
    assert outline([*site.run("certificates"), *site.run("files")]) == []


def test_a_key_that_everybody_can_read(site: DoctorSite) -> None:
    (site.folder / "privkey.pem").chmod(0o644)
    assert outline(site.run("certificates")) == [("error", "certificate-unusable", "tls.private_key")]


def test_authorities_of_clients_that_are_missing(site: DoctorSite) -> None:
    site.configure('[tls]\nclient_ca = "none.pem"')
    assert outline(site.run("certificates")) == [("error", "certificate-unusable", "tls.client_ca")]
