"""Handshakes in memory with the standard library's client: what is agreed on, shown, told, refused."""

import hashlib
import ssl
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions

from mailserver.net.pairs import Pair, PairFiles, read_pair
from mailserver.net.tls import binding, description, peer_addresses, server_options
from tests.support.net.handshakes import (
    TLS12,
    TLS13,
    Talk,
    client_context,
    exchange,
    openssl_client,
    server_end,
    shake_hands,
)
from tests.support.tls_material import Authority, Issued, make_ca

VERSIONS = (TLS12, TLS13)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return make_ca(tmp_path)


def pair_of(issued: Issued) -> Pair:
    return read_pair(PairFiles("tls", issued.certificate, issued.private_key))


def served(*issued: Issued, clients: Sequence[Authority] = ()) -> CertificateOptions:
    return server_options([pair_of(one) for one in issued], [one.certificate for one in clients])


def shown(talk: Talk) -> bytes | None:
    """The server's certificate as the client sees it."""
    return talk.client.getpeercert(binary_form=True)


# ------------------------------------------------------------ what is agreed on


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(ca: Authority, version: ssl.TLSVersion) -> None:
    client = client_context(ca.path)
    client.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = client.maximum_version = version
    with pytest.raises(SSL.Error) as error:
        shake_hands(served(ca.issue("a.example")), client)
    assert "unsupported protocol" in str(error.value)


@pytest.mark.parametrize(
    "ciphers",
    ["kRSA", "DHE", "ECDHE+AES+SHA1", "ECDHE+SHA256+AES128:!AESGCM", "ECDHE+SHA384+AES256:!AESGCM"],
)
def test_older_ciphers_are_refused(ca: Authority, ciphers: str) -> None:
    client = client_context(ca.path, maximum_version=TLS12)
    client.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    issued = ca.issue("a.example", key=rsa.generate_private_key(65537, 2048))
    with pytest.raises(SSL.Error, match="no shared cipher"):
        shake_hands(served(issued), client)


def test_the_server_chooses_the_cipher(ca: Authority) -> None:
    client = client_context(ca.path, maximum_version=TLS12)
    client.set_ciphers("ECDHE+AES128:ECDHE+AES256")
    talk = shake_hands(served(ca.issue("a.example")), client)
    assert description(talk.server) == "TLSv1.2 with ECDHE-ECDSA-AES256-GCM-SHA384"


def test_description_in_tls_1_3(ca: Authority) -> None:
    talk = shake_hands(served(ca.issue("a.example")), client_context(ca.path))
    assert description(talk.server) == "TLSv1.3 with TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize("group", ["prime256v1", "secp384r1"])
def test_other_groups_than_the_first_do_too(ca: Authority, group: str) -> None:
    client = client_context(ca.path)
    client.set_ecdh_curve(group)
    talk = shake_hands(served(ca.issue("a.example")), client)
    assert talk.say(b"x") == b"x"


@pytest.mark.parametrize("version", VERSIONS)
def test_octets_are_never_compressed(ca: Authority, version: ssl.TLSVersion) -> None:
    client = client_context(ca.path, maximum_version=version)
    client.options &= ~ssl.OP_NO_COMPRESSION
    assert shake_hands(served(ca.issue("a.example")), client).client.compression() is None


def test_a_client_that_offers_protocols_gets_none_and_is_served(ca: Authority) -> None:
    client = client_context(ca.path)
    client.set_alpn_protocols(["pop3", "http/1.1"])
    talk = shake_hands(served(ca.issue("a.example")), client)
    assert talk.client.selected_alpn_protocol() is None


def test_renegotiation_is_refused(ca: Authority) -> None:
    client, server = openssl_client(max=SSL.TLS1_2_VERSION), server_end(served(ca.issue("a.example")))
    exchange(client, server)
    finished = server.get_finished()
    assert client.renegotiate()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        exchange(client, server)
    assert server.get_finished() == finished


# ------------------------------------------------------------ names


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("asked", "number"),
    [
        (None, 0),
        ("a.example", 0),
        ("b.example", 1),
        ("B.Example", 1),
        ("mail.w.example", 2),
        ("special.w.example", 1),
        ("two.labels.w.example", 0),
        ("w.example", 0),
        ("nobody.example", 0),
    ],
)
def test_the_certificate_of_the_name_is_shown(
    ca: Authority, version: ssl.TLSVersion, asked: str | None, number: int
) -> None:
    issued = [
        ca.issue("a.example"),
        ca.issue("b.example", "special.w.example"),
        ca.issue("*.w.example", "b.example"),
    ]
    client = client_context(ca.path, maximum_version=version)
    client.check_hostname = False
    options = served(*issued)
    if asked in ("two.labels.w.example", "w.example", "nobody.example"):
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            shake_hands(options, client, asked)
        return
    talk = shake_hands(options, client, asked)
    assert shown(talk) == issued[number].der
    assert binding(talk.server, "tls-server-end-point") == hashlib.sha256(issued[number].der).digest()


def test_the_chain_comes_with_the_certificate(ca: Authority) -> None:
    issued = ca.intermediate().issue("a.example")
    talk = shake_hands(served(ca.issue("other.example"), issued), client_context(ca.path), "a.example")
    assert shown(talk) == issued.der


def test_kinds_of_keys(ca: Authority) -> None:
    for key in (rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()):
        issued = ca.issue("a.example", key=key)
        assert shown(shake_hands(served(issued), client_context(ca.path), "a.example")) == issued.der


# ------------------------------------------------------------ sessions


@pytest.mark.parametrize("asked", [None, "a.example", "b.example"])
def test_a_ticket_resumes_a_session_of_the_same_contexts_alone(ca: Authority, asked: str | None) -> None:
    issued = ca.issue("a.example"), ca.issue("b.example")
    smtp, pop3, client = served(*issued), served(*issued), client_context(ca.path)
    first = shake_hands(smtp, client, asked).client
    assert first.session is not None and first.session.has_ticket
    assert shake_hands(smtp, client, asked, first.session).client.session_reused
    assert not shake_hands(pop3, client, asked, first.session).client.session_reused


@pytest.mark.parametrize("asked", [None, "a.example", "b.example"])
def test_no_session_of_tls_1_2_is_resumed(ca: Authority, asked: str | None) -> None:
    options = served(ca.issue("a.example"), ca.issue("b.example"))
    client = client_context(ca.path, maximum_version=TLS12)
    first = shake_hands(options, client, asked).client
    assert first.session is not None and not first.session.has_ticket
    assert not shake_hands(options, client, asked, first.session).client.session_reused


# ------------------------------------------------------------ channel bindings


def test_tls_unique_is_what_the_client_computes(ca: Authority) -> None:
    client = client_context(ca.path, maximum_version=TLS12)
    options = served(ca.issue("a.example"))
    session = None
    for _ in range(2):
        talk = shake_hands(options, client, "a.example", session)
        session = talk.client.session
        value = binding(talk.server, "tls-unique")
        assert value is not None and value == talk.client.get_channel_binding("tls-unique")
        assert binding(talk.server, "tls-exporter") is None


def test_tls_exporter_belongs_to_tls_1_3_and_to_one_connection(ca: Authority) -> None:
    options, client = served(ca.issue("a.example")), client_context(ca.path)
    first = shake_hands(options, client, "a.example")
    second = shake_hands(options, client, "a.example", first.client.session)
    values = {binding(talk.server, "tls-exporter") for talk in (first, second)}
    assert len(values) == 2 and None not in values
    assert binding(first.server, "tls-unique") is None
    assert binding(first.server, "tls-something") is None


def test_tls_exporter_is_what_another_client_computes(ca: Authority) -> None:
    client, server = openssl_client(), server_end(served(ca.issue("a.example")))
    exchange(client, server)
    # RFC 8446 section 7.5: without a context is as with an empty one
    assert client.export_keying_material(b"EXPORTER-Channel-Binding", 32) == binding(server, "tls-exporter")


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_tls_server_end_point_has_the_hash_of_the_signature(ca: Authority, algorithm: hashes.SHA256) -> None:
    talk = shake_hands(served(ca.issue("a.example", algorithm=algorithm)), client_context(ca.path))
    certificate = shown(talk)
    assert certificate is not None
    expected = hashlib.new(algorithm.name, certificate).digest()
    assert binding(talk.server, "tls-server-end-point") == expected


# ------------------------------------------------------------ certificates of clients


def with_certificate(ca: Authority, issued: Issued, version: ssl.TLSVersion = TLS13) -> ssl.SSLContext:
    client = client_context(ca.path, maximum_version=version)
    client.load_cert_chain(issued.certificate, issued.private_key)
    return client


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("asked", ["a.example", "b.example"])
def test_a_client_may_show_a_certificate(
    ca: Authority, tmp_path: Path, version: ssl.TLSVersion, asked: str
) -> None:
    people = make_ca(tmp_path)
    options = served(ca.issue("a.example"), ca.issue("b.example"), clients=[people])
    client = with_certificate(ca, people.issue(mail=["alice@example.org"]), version)
    first = shake_hands(options, client, asked)
    assert peer_addresses(first.server) == ("alice@example.org",)
    again = shake_hands(options, client, asked, first.client.session)
    assert again.client.session_reused == (version == TLS13)
    assert peer_addresses(again.server) == ("alice@example.org",)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_needs_no_certificate(ca: Authority, version: ssl.TLSVersion) -> None:
    options = served(ca.issue("a.example"), clients=[ca])
    talk = shake_hands(options, client_context(ca.path, maximum_version=version), "a.example")
    assert peer_addresses(talk.server) == ()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("asked", ["a.example", "b.example"])
def test_a_certificate_of_somebody_else_ends_the_handshake(
    ca: Authority, tmp_path: Path, version: ssl.TLSVersion, asked: str
) -> None:
    people, others = make_ca(tmp_path), make_ca(tmp_path)
    options = served(ca.issue("a.example"), ca.issue("b.example"), clients=[people])
    client = with_certificate(ca, others.issue(mail=["alice@example.org"]), version)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        shake_hands(options, client, asked)


def test_a_certificate_that_nobody_asked_for_proves_nothing(ca: Authority) -> None:
    client = with_certificate(ca, ca.issue(mail=["alice@example.org"]))
    talk = shake_hands(served(ca.issue("a.example")), client, "a.example")
    assert peer_addresses(talk.server) == ()


def test_a_ticket_from_before_clients_were_asked_proves_nothing(ca: Authority) -> None:
    issued = ca.issue("a.example")
    client = client_context(ca.path)
    session = shake_hands(served(issued), client, "a.example").client.session
    talk = shake_hands(served(issued, clients=[ca]), client, "a.example", session)
    assert not talk.client.session_reused and peer_addresses(talk.server) == ()


@pytest.mark.parametrize(
    ("certificate", "addresses"),
    [
        ({"mail": ["a@example.org", "b@example.org"]}, ("a@example.org", "b@example.org")),
        ({"mail": ["a@example.org"], "subject_mail": "c@example.org"}, ("a@example.org",)),
        ({"utf8_mail": ["jürgen@example.org"]}, ("jürgen@example.org",)),
        ({"utf8_mail": ["ü" * 70 + "@example.org"]}, ("ü" * 70 + "@example.org",)),
        ({"subject_mail": "c@example.org"}, ("c@example.org",)),
        ({}, ()),
    ],
)
def test_whose_certificate_it_is(
    ca: Authority, certificate: dict[str, list[str]], addresses: tuple[str, ...]
) -> None:
    client = with_certificate(ca, ca.issue(**certificate))  # type: ignore[arg-type]
    talk = shake_hands(served(ca.issue("a.example"), clients=[ca]), client, "a.example")
    assert peer_addresses(talk.server) == addresses
