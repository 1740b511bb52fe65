"""At which addresses this server counts as the mail exchanger of a domain."""

import pytest

from mailserver.app.relaying import own_addresses
from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.top_level import Config


@pytest.mark.parametrize(
    ("endpoints", "own"),
    [
        ([], ""),
        (["tcp:25"], "127.0.0.1 ::1"),
        (["tcp:25:interface=0.0.0.0"], "127.0.0.1 ::1"),
        ([r"tcp:25:interface=\:\:"], "127.0.0.1 ::1"),
        (["tcp:25:interface=192.0.2.77"], "192.0.2.77"),
        (
            [r"tcp:25:interface=2001\:db8\:\:77:backlog=9", "tcp:26:interface=127.0.0.1"],
            "2001:db8::77 127.0.0.1",
        ),
        (["unix:/run/smtp.sock"], ""),
        (["systemd:domain=INET:index=0"], "127.0.0.1 ::1"),
    ],
)
def test_own_addresses(endpoints: list[str], own: str) -> None:
    listen = [ListenSection(protocol="smtp", endpoint=endpoint, tls="none") for endpoint in endpoints]
    listen.append(ListenSection(protocol="pop3", endpoint="tcp:110", tls="none"))
    is_own = own_addresses(Config(hostname="mail.example.org", listen=tuple(listen)))
    asked = ("127.0.0.1", "::1", "192.0.2.77", "2001:db8::77", "192.0.2.78")
    assert {address for address in asked if is_own(address)} == set(own.split())
