"""Which addresses belong to this machine."""

import socket

import pytest

from mailserver.net.local_addresses import is_local


@pytest.mark.parametrize(
    "address", ["192.0.2.77", "2001:db8::77", "0.0.0.0", "::", "224.0.0.1", "no address"]
)
def test_addresses_of_others(address: str) -> None:
    assert not is_local(address)


def test_our_addresses() -> None:
    assert is_local("127.0.0.1") and is_local("::1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.9", 9))
        assert is_local(probe.getsockname()[0])
