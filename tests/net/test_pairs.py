"""What is served with, and what is refused: files of certificates and keys in every bad state."""

import os
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailserver.net.pairs import Pair, PairFiles, Unusable, read_authorities, read_pair
from tests.support.tls_material import Authority, Issued, make_ca, make_key, write_key


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return make_ca(tmp_path)


@pytest.fixture
def issued(ca: Authority) -> Issued:
    return ca.issue("mail.example.org")


def read(issued: Issued) -> Pair:
    return read_pair(PairFiles("tls", issued.certificate, issued.private_key))


def test_a_good_pair(ca: Authority) -> None:
    issued = ca.intermediate().issue("Mail.Example.org", "*.example.org", "192.0.2.1")
    pair = read(issued)
    assert pair.names == ("mail.example.org", "*.example.org")
    assert len(pair.chain) == 1
    assert pair.date_problem(time.time()) is None
    assert "private_key" not in repr(pair)


def test_one_file_may_hold_both(issued: Issued) -> None:
    both = issued.private_key.read_bytes() + issued.certificate.read_bytes()
    issued.private_key.write_bytes(both)
    assert read(Issued(issued.private_key, issued.private_key)).names == ("mail.example.org",)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
def test_modes_of_keys_that_are_good(issued: Issued, mode: int) -> None:
    issued.private_key.chmod(mode)
    read(issued)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666, 0o777])
def test_modes_of_keys_that_are_not(issued: Issued, mode: int) -> None:
    issued.private_key.chmod(mode)
    with pytest.raises(Unusable, match=f"mode is {mode:04o}"):
        read(issued)


GOOD_KEYS = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
}


@pytest.mark.parametrize("kind", GOOD_KEYS)
def test_kinds_of_keys_that_are_good(ca: Authority, kind: str) -> None:
    read(ca.issue("mail.example.org", key=GOOD_KEYS[kind]()))  # type: ignore[arg-type]


def no_certificate(issued: Issued) -> None:
    issued.certificate.unlink()


def no_key(issued: Issued) -> None:
    issued.private_key.unlink()


def neither(issued: Issued) -> None:
    no_certificate(issued)
    no_key(issued)


def certificate_is_a_folder(issued: Issued) -> None:
    issued.certificate.unlink()
    issued.certificate.mkdir()


def certificate_is_a_fifo(issued: Issued) -> None:
    issued.certificate.unlink()
    os.mkfifo(issued.certificate)


def certificate_is_text(issued: Issued) -> None:
    issued.certificate.write_text("here will be a certificate")


def certificate_is_cut(issued: Issued) -> None:
    issued.certificate.write_bytes(issued.certificate.read_bytes()[:300])


def certificate_is_empty(issued: Issued) -> None:
    issued.certificate.write_bytes(b"")


def key_is_text(issued: Issued) -> None:
    issued.private_key.write_text("here will be a key")


def key_is_cut(issued: Issued) -> None:
    issued.private_key.write_bytes(issued.private_key.read_bytes()[:100])


def key_is_another(issued: Issued) -> None:
    write_key(issued.private_key, make_key())


def key_is_for_everybody(issued: Issued) -> None:
    issued.private_key.chmod(0o644)


def key_is_for_everybody_behind_a_link(issued: Issued) -> None:
    target = issued.private_key.with_name("target.pem")
    issued.private_key.rename(target)
    target.chmod(0o604)
    issued.private_key.symlink_to(target)


def key_is_encrypted(issued: Issued) -> None:
    issued.private_key.write_bytes(
        make_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )


def key_is_weak(issued: Issued) -> None:
    write_key(issued.private_key, rsa.generate_private_key(65537, 1024))


def key_is_on_an_odd_curve(issued: Issued) -> None:
    write_key(issued.private_key, ec.generate_private_key(ec.SECP256K1()))


def key_is_dsa(issued: Issued) -> None:
    write_key(issued.private_key, dsa.generate_private_key(1024))  # type: ignore[arg-type]


BAD: list[tuple[Callable[[Issued], None], list[tuple[str, str]]]] = [
    (no_certificate, [("certificate", "cannot read .*: No such file")]),
    (no_key, [("private_key", "cannot read .*: No such file")]),
    (neither, [("certificate", "No such file"), ("private_key", "No such file")]),
    (certificate_is_a_folder, [("certificate", "is not a regular file")]),
    (certificate_is_a_fifo, [("certificate", "is not a regular file")]),
    (certificate_is_text, [("certificate", "no certificates in the PEM format")]),
    (certificate_is_cut, [("certificate", "no certificates in the PEM format")]),
    (certificate_is_empty, [("certificate", "no certificates in the PEM format")]),
    (key_is_text, [("private_key", "no private key in the PEM format")]),
    (key_is_cut, [("private_key", "no private key in the PEM format")]),
    (key_is_another, [("private_key", "does not belong to the first certificate")]),
    (key_is_for_everybody, [("private_key", "everybody can read .* mode is 0644; allowed: ")]),
    (key_is_for_everybody_behind_a_link, [("private_key", "everybody can read .* mode is 0604; allowed: ")]),
    (key_is_encrypted, [("private_key", "is encrypted; allowed: ")]),
    (key_is_weak, [("private_key", "is RSA of 1024 bits; allowed: RSA of 2048 bits or more")]),
    (key_is_on_an_odd_curve, [("private_key", "on the curve secp256k1; allowed: ")]),
    (key_is_dsa, [("private_key", "of another kind; allowed: ")]),
]


@pytest.mark.parametrize(("spoil", "problems"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_refused(
    issued: Issued, spoil: Callable[[Issued], None], problems: list[tuple[str, str]]
) -> None:
    spoil(issued)
    with pytest.raises(Unusable) as error:
        read_pair(PairFiles("certificate[2]", issued.certificate, issued.private_key))
    found = error.value.problems
    assert [key for key, _ in found] == [f"certificate[2].{key}" for key, _ in problems]
    for (_, text), (_, pattern) in zip(found, problems, strict=True):
        assert re.search(pattern, text), text
        assert "\n" not in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_a_key_that_cannot_be_read(issued: Issued) -> None:
    issued.private_key.chmod(0)
    with pytest.raises(Unusable, match=r"tls\.private_key: cannot read .*: Permission denied"):
        read(issued)


def test_dates_are_for_the_log(ca: Authority) -> None:
    now = time.time()
    old = read(ca.issue("mail.example.org", begins=timedelta(days=-9), ends=timedelta(days=-1)))
    assert "has expired on " in (old.date_problem(now) or "")
    early = read(ca.issue("mail.example.org", begins=timedelta(days=1)))
    assert "is not valid before " in (early.date_problem(now) or "")


def test_authorities(ca: Authority, tmp_path: Path) -> None:
    assert read_authorities("tls.client_ca", ca.path) == (ca.certificate,)
    with pytest.raises(Unusable, match=r"^tls\.client_ca: cannot read "):
        read_authorities("tls.client_ca", tmp_path / "none.pem")


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_in_good_order(issued: Issued, tmp_path: Path, data: st.DataObject) -> None:
    def damaged(path: Path) -> Path:
        octets = bytearray(path.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(octets) - 1), max_size=4)):
            octets[place] = data.draw(st.integers(0, 255))
        copy = tmp_path / f"damaged-{path.name}"
        copy.write_bytes(octets)
        copy.chmod(0o600)
        return copy

    try:
        read(Issued(damaged(issued.certificate), damaged(issued.private_key)))
    except Unusable as error:
        assert error.problems
