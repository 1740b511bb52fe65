"""Certificates made at run time, looked at by clients that are strict."""

import ssl
import time
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from mailserver.net.certificates import Certificates, Sources
from mailserver.net.made_certificate import DUE, LIFE, MadeCertificate, is_due, make_certificate
from mailserver.net.pairs import PairFiles
from tests.support.net.handshakes import client_context, shake_hands

NAMES = ("mail.example.org", "localhost", "127.0.0.1", "::1")
DAY = 86400.0


def written(folder: Path, made: MadeCertificate) -> tuple[Path, PairFiles]:
    ca, certificate, private_key = (folder / f"{name}.pem" for name in ("ca", "certificate", "key"))
    ca.write_bytes(made.ca)
    certificate.write_bytes(made.certificate)
    private_key.touch(0o600)
    private_key.write_bytes(made.private_key)
    return ca, PairFiles("tls", certificate, private_key)


@pytest.mark.parametrize("name", NAMES)
def test_clients_that_trust_its_ca_verify_it(tmp_path: Path, name: str) -> None:
    ca, files = written(tmp_path, make_certificate(NAMES, time.time()))
    client = client_context(ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    shake_hands(Certificates(Sources((files,)), Clock()).context_factory_for("smtp"), client, name)


def test_not_for_other_names(tmp_path: Path) -> None:
    ca, files = written(tmp_path, make_certificate(NAMES, time.time()))
    options = Certificates(Sources((files,)), Clock()).context_factory_for("smtp")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(options, client_context(ca), "other.example.org")


def test_names_may_be_long(tmp_path: Path) -> None:
    name = ".".join(["a" * 60] * 4)
    ca, files = written(tmp_path, make_certificate([name], time.time()))
    options = Certificates(Sources((files,)), Clock()).context_factory_for("smtp")
    shake_hands(options, client_context(ca), name)


@pytest.mark.parametrize(
    ("age", "due"),
    [(0.0, False), (LIFE.days - DUE.days - 1.0, False), (LIFE.days - DUE.days + 1.0, True)],
)
def test_when_it_is_made_anew(age: float, due: bool) -> None:
    now = time.time()
    assert is_due(make_certificate(NAMES, now).certificate, NAMES, now + age * DAY) is due


def test_it_is_made_anew_for_other_names_and_in_place_of_what_is_none() -> None:
    now = time.time()
    made = make_certificate(NAMES, now)
    assert is_due(made.certificate, NAMES[:1], now)
    assert is_due(b"no certificate", NAMES, now)
    assert is_due(made.certificate[:100], NAMES, now)
