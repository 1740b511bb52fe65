"""Which clients are checked, by the configuration, and that nothing is left to do if all checks are off."""

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from mailserver.app.reputation import BuiltReputation
from mailserver.app.sender_checks import sender_checks
from mailserver.config.loader import load
from mailserver.mail.address import Address
from mailserver.policy.sender_examination import SenderExamination
from mailserver.reception.transaction import Client, Transaction
from tests.support.resolvers import FakeResolver

REPUTATION = BuiltReputation((), (), lambda client: None, None)
OFF = 'spf = "off"\ndkim = "off"\ndmarc = "off"'


def checked(folder: Path, text: str, ip: str) -> bool:
    path = folder / "mailserver.toml"
    path.write_text(text)
    checks = sender_checks(load(path), REPUTATION, resolver=FakeResolver({}), clock=Clock())
    transaction = Transaction("id", "", Client(ip=ip), Address("a", "b.example"), {})
    return any(isinstance(check.examine(transaction), SenderExamination) for check in checks)


@pytest.mark.parametrize(
    ("text", "ip", "expected"),
    [
        ("", "192.0.2.1", True),
        ("", "127.0.0.1", False),
        ('[relay]\nnetworks = ["192.0.2.0/24"]', "192.0.2.1", False),
        # no record of a domain is about this machine
        ("[relay]\nnetworks = []", "127.0.0.1", False),
        ("[relay]\nnetworks = []", "::1", False),
        ("[policy]\nexempt = []", "127.0.0.1", True),
        ('[policy]\nexempt = ["198.51.100.0/24"]', "198.51.100.7", False),
        ('[policy]\nexempt = ["198.51.100.0/24"]', "192.0.2.1", True),
        (f"[policy]\n{OFF}", "192.0.2.1", False),
        ('[policy]\nspf = "off"\ndkim = "off"', "192.0.2.1", True),
    ],
)
def test_who_is_checked(tmp_path: Path, text: str, ip: str, expected: bool) -> None:
    assert checked(tmp_path, text, ip) is expected


def test_nothing_is_left_of_checks_that_are_off(tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    path.write_text(f"[policy]\n{OFF}")
    assert sender_checks(load(path), REPUTATION, resolver=FakeResolver({}), clock=Clock()) == ()
