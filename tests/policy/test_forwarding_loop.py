"""A message that comes back to the address that has forwarded it."""

import pytest

from mailserver.mail.address import Address
from mailserver.mail.verdict import ROUTING_LOOP, Destination, Refuse, Routed
from mailserver.policy.loops import ForwardingLoop
from mailserver.queue.entries import InMemoryContent
from mailserver.reception.checks import ACCEPTED
from mailserver.reception.transaction import Client, Recipient, Transaction

AWAY, HERE = Address("Away", "example.org"), Address("alice", "example.org")
ZOE = Address("ZO\u00cb", "example.org")
OUTSIDE = Address("bob", "elsewhere.example")
FORWARDED = Routed((Destination(OUTSIDE, AWAY, remote=True),))


@pytest.mark.parametrize(
    ("address", "routed", "header", "loops"),
    [
        (AWAY, FORWARDED, b"Delivered-To: away@example.org\r\n", True),
        (AWAY, FORWARDED, b"delivered-to:AWAY@EXAMPLE.ORG  \r\nReceived: x\r\n", True),
        (
            AWAY,
            FORWARDED,
            b"Received: x\r\nDelivered-To: z@x.example\r\nDelivered-To: away@example.org\r\n",
            True,
        ),
        (ZOE, FORWARDED, b"Delivered-To: zo\\x{EB}@example.org\r\n", True),
        (AWAY, FORWARDED, b"Delivered-To: other@example.org\r\n", False),
        (AWAY, FORWARDED, b"X-Delivered-To: away@example.org\r\n", False),
        (AWAY, FORWARDED, b"Subject: x\r\n\r\nDelivered-To: away@example.org\r\n", False),
        (HERE, Routed((Destination(HERE, HERE),)), b"Delivered-To: alice@example.org\r\n", False),
        # the client names the other server itself
        (
            OUTSIDE,
            Routed((Destination(OUTSIDE, OUTSIDE, remote=True),), relayed=True),
            b"Delivered-To: bob@elsewhere.example\r\n",
            False,
        ),
    ],
)
def test_loops(address, routed, header, loops):
    transaction = Transaction("id", "listen[1]", Client(), None, {}, (Recipient(address, routed, {}),))
    verdict = ForwardingLoop().check_message(transaction, InMemoryContent(header + b"\r\nbody\r\n"))
    assert verdict == (
        Refuse(ROUTING_LOOP, f"mail loop: {address} has forwarded this message before", "routing")
        if loops
        else ACCEPTED
    )
