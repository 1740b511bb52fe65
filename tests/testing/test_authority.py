"""The CA of the fixture: what clients that trust it accept, and what it leaves behind."""

import ssl
import time

import pytest

from mailserver.testing.authority import FixtureAuthority
from tests.support.net.handshakes import client_context, shake_hands


@pytest.mark.parametrize("name", ["mail.example.test", "localhost", "127.0.0.1", "::1"])
def test_a_client_that_trusts_it_accepts_a_server(name):
    authority = FixtureAuthority()
    shake_hands(authority.options("mail.example.test"), authority.ssl_context(), name)


def test_a_client_that_trusts_another_one_does_not():
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(FixtureAuthority().options("a.example"), FixtureAuthority().ssl_context(), "a.example")


def test_the_client_trusts_this_authority_alone():
    assert len(FixtureAuthority().ssl_context().get_ca_certs()) == 1


def test_the_file_is_written_when_somebody_asks_for_it_and_removed_at_the_end():
    authority = FixtureAuthority()
    authority.close()  # nothing to remove yet
    path = authority.ca_file
    assert authority.ca_file == path
    shake_hands(authority.options("a.example"), client_context(path), "a.example")
    authority.close()
    assert not path.parent.exists()


def test_the_same_names_have_the_same_certificate():
    authority = FixtureAuthority()
    assert authority.options("a.example") is authority.options("a.example")
    assert authority.options("a.example") is not authority.options("b.example")


def test_it_takes_no_time():
    begin = time.process_time()
    for _ in range(10):
        FixtureAuthority().options("mail.example.test")
    assert (time.process_time() - begin) / 10 < 0.03
