"""Who may send mail to other servers."""

import pytest

from mailserver.config.schema.mail_kinds import NETWORK
from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination, Routed
from mailserver.policy.relay import DENIED, REPORTS_ONLY, RelayPermission
from mailserver.reception.checks import ACCEPTED
from mailserver.reception.transaction import Client, LocalUser, Recipient, Transaction
from tests.support.fakes import stand_in

ALICE = Address("alice", "example.org")
OUTSIDE = Address("bob", "elsewhere.example")


def networks(*texts):
    return [NETWORK.read(text, stand_in(None)) for text in texts]


@pytest.mark.parametrize(
    ("client", "permitted"),
    [
        (Client("192.0.2.1"), True),
        (Client("::ffff:192.0.2.1"), True),
        (Client("198.51.100.1"), False),
        (Client("2001:db8::1%eth0"), False),
        (Client("198.51.100.1", account=ALICE), True),
        (Client(), False),  # a unix socket
        (Client(local=LocalUser(0, "")), True),
    ],
)
def test_relaying(client, permitted):
    check = RelayPermission(networks("192.0.2.0/24"), ["example.net"])
    transaction = Transaction("id", "listen[1]", client, ALICE, {})

    def judge(address):
        routed = Routed((Destination(address, address, remote=True),), relayed=True)
        return check.check_routed(transaction, Recipient(address, routed, {}))

    assert judge(OUTSIDE) is (ACCEPTED if permitted else DENIED)
    assert judge(Address("x", "example.net")) is ACCEPTED
    # an alias that leads to another server
    forwarded = Recipient(ALICE, Routed((Destination(OUTSIDE, ALICE, remote=True),)), {})
    assert check.check_routed(transaction, forwarded) is ACCEPTED


@pytest.mark.parametrize("account", [None, ALICE])
def test_a_rewritten_reverse_path_takes_reports_only(account):
    """From strangers too, and nothing else from anybody."""
    check = RelayPermission([], [])
    path = Address("SRS0=hash=AA=elsewhere.example=bob", "example.org")
    returned = Recipient(path, Routed((Destination(OUTSIDE, path, remote=True),), bounces_only=True), {})
    for reverse_path, verdict in ((None, ACCEPTED), (OUTSIDE, REPORTS_ONLY), (ALICE, REPORTS_ONLY)):
        transaction = Transaction(
            "id", "listen[1]", Client("198.51.100.1", account=account), reverse_path, {}
        )
        assert check.check_routed(transaction, returned) is verdict
