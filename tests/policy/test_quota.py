"""Who is refused at RCPT because of a quota, and who is not."""

import attrs
import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs, formatEvent

from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.mail.verdict import MAIL_SYSTEM, MAILBOX_FULL, Defer, Refuse, Routed
from mailserver.policy.quota import MailboxQuota
from mailserver.reception.checks import ACCEPTED
from mailserver.reception.transaction import Client, Recipient, Transaction
from mailserver.routing.router import Router
from mailserver.routing.table import MailingList, Names, RoutingTable
from tests.support.store.messages import ALICE, BOB


def at_home(local):
    return Address(local, "example.org")


NAMES = Names(
    domains=["example.org"],
    accounts=[ALICE, BOB],
    aliases={at_home("one"): [ALICE], at_home("two"): [ALICE, BOB]},
    lists={at_home("club"): MailingList((ALICE,), BOB)},
)
ROUTER = Router(RoutingTable(NAMES))
TRANSACTION = Transaction("id", "", Client(), None, {})


class Store:
    """Knows who has room."""

    def __init__(self, full):
        self.full = full

    def has_room(self, mailbox, octets):
        return mailbox.key not in self.full and octets <= 1000


def ask(store, recipient, **parameters):
    routed = ROUTER.route(recipient)
    assert isinstance(routed, Routed)
    transaction = attrs.evolve(TRANSACTION, parameters=parameters)
    answer = MailboxQuota(store).check_routed(transaction, Recipient(recipient, routed, {}))
    return answer.result if isinstance(answer, Deferred) and answer.called else answer


@pytest.mark.parametrize(
    ("recipient", "full", "refused"),
    [
        ("alice", {ALICE}, True),
        ("ALICE", {ALICE}, True),
        ("alice+tag", {ALICE}, True),
        ("alice", {BOB}, False),
        ("bob", {ALICE}, False),
        # An alias of one is as good as its name; several, or a list, are taken for those who have room.
        ("one", {ALICE}, True),
        ("two", {ALICE}, False),
        ("two", {ALICE, BOB}, False),
        ("club", {ALICE}, False),
    ],
)
def test_recipients(recipient, full, refused):
    answer = ask(Store(full), at_home(recipient))
    if refused:
        assert answer == Refuse(MAILBOX_FULL, "the mailbox is full", "storage.quota")
    else:
        assert answer is ACCEPTED


@pytest.mark.parametrize(
    ("recipient", "size", "accepted"),
    [
        ("alice", "1000", True),
        ("alice", "0", True),
        ("alice", "1001", False),
        ("one", "1001", False),
        ("two", "1001", True),
        ("club", "1001", True),
    ],
)
def test_a_message_that_is_too_large_for_the_mailbox(recipient, size, accepted):
    answer = ask(Store(set()), at_home(recipient), SIZE=size)
    text = "the message does not fit into the mailbox"
    assert answer == (ACCEPTED if accepted else Refuse(MAILBOX_FULL, text, "storage.quota"))


@pytest.mark.parametrize("name", ["alice", "one", "alice+x"])
def test_a_mailbox_that_cannot_be_looked_at_is_deferred(name):
    store = Store(set())
    store.has_room = lambda mailbox, octets: fail(StorageError("it belongs to user 0"))
    with capturedLogs() as told:
        answer = ask(store, at_home(name))
    assert answer == Defer(
        MAIL_SYSTEM, "the mailbox is temporarily unavailable; please try again later", "storage"
    )
    assert [(event["log_level"].name, formatEvent(event)) for event in told] == [
        ("error", "alice@example.org: mail deferred: it belongs to user 0")
    ]


def test_a_fault_of_ours_is_not_hidden():
    store = Store(set())
    store.has_room = lambda mailbox, octets: fail(ZeroDivisionError())
    assert ask(store, ALICE).type is ZeroDivisionError


def test_a_store_that_takes_its_time():
    store = Store(set())
    store.has_room = lambda mailbox, octets: waiting
    waiting = Deferred()
    answer = ask(store, ALICE)
    waiting.callback(True)
    assert answer.result is ACCEPTED
