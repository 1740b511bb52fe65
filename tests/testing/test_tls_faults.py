"""Faults of TLS: a client of the standard library reports each one by its right name."""

import ssl
import warnings

import pytest
from OpenSSL import SSL

from mailserver.testing.authority import FixtureAuthority
from mailserver.testing.tls_faults import TLS_FAULTS, fault_options
from tests.support.net.handshakes import shake_hands

HOST = "mail.example.test"
CONTEXTS = [name for name, fault in TLS_FAULTS.items() if fault.has_context]
CERTIFICATES = [name for name, fault in TLS_FAULTS.items() if fault.verify_code]


@pytest.fixture(scope="module")
def authority():
    return FixtureAuthority()


@pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_client_names_the_problem_of_the_certificate(authority, name, host):
    client = authority.ssl_context()
    client.set_ciphers("DEFAULT:@SECLEVEL=2")
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake_hands(fault_options(name, authority, HOST), client, host)
    expected = 64 if (name, host) == ("wrong-host", "127.0.0.1") else TLS_FAULTS[name].verify_code
    assert caught.value.verify_code == expected


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_client_that_checks_nothing_gets_through(authority, name):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    shake_hands(fault_options(name, authority, HOST), client)


def test_a_client_of_today_finds_no_common_protocol(authority):
    # The server notices it first if the client names its versions (RFC 8446 section 4.2.1).
    with pytest.raises((ssl.SSLError, SSL.Error), match=r"(?i)unsupported.protocol|legacy sigalg"):
        shake_hands(fault_options("old-protocol", authority, HOST), authority.ssl_context(), HOST)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_old_client_speaks_the_old_protocols(authority, version):
    client = authority.ssl_context()
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = client.maximum_version = version
    talk = shake_hands(fault_options("old-protocol", authority, HOST), client, HOST)
    assert talk.client.version() == {"TLSv1": "TLSv1", "TLSv1_1": "TLSv1.1"}[version.name]


def test_each_fault_says_what_it_needs(authority):
    for name, fault in TLS_FAULTS.items():
        assert fault.has_context or fault.act or fault.hides or fault.smtp_reply, name
        assert bool(fault.smtp_reply) == bool(fault.pop3_reply), name
        assert fault.smtp_reply[:3] in ("", "454", "502") and fault.pop3_reply[:5] in ("", "-ERR "), name
        if not fault.has_context:
            with pytest.raises(KeyError):
                fault_options(name, authority, HOST)
