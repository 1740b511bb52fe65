"""Who is refused at RCPT because of a quota, and who is not."""

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from mailserver.errors import StorageError
from mailserver.interfaces import IRouter
from mailserver.mail.address import Address
from mailserver.mail.verdict import MAIL_SYSTEM, MAILBOX_FULL, Defer, Moved, Refuse, Routed
from mailserver.queue.full import QuotaRouter
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
    moved={at_home("gone"): Address("gone", "elsewhere.example")},
)


class Store:
    """Knows who has room, and counts who asks."""

    def __init__(self, full):
        self.full = full
        self.asked = []

    def has_room(self, mailbox):
        self.asked.append(mailbox)
        return mailbox.key not in self.full


def router_of(store):
    return QuotaRouter(Router(RoutingTable(NAMES)), store)


def ask(router, recipient):
    answers = []
    router.route(recipient).addBoth(answers.append)
    (answer,) = answers
    return answer


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
    answer = ask(router_of(Store(full)), at_home(recipient))
    if refused:
        assert isinstance(answer, Refuse) and answer.status == MAILBOX_FULL
    else:
        assert answer == ask(Router(RoutingTable(NAMES)), at_home(recipient))
        assert isinstance(answer, Routed)


@pytest.mark.parametrize(
    ("recipient", "kind"),
    [
        (at_home("gone"), Moved),
        (at_home("nobody"), Refuse),
        (Address("alice", "elsewhere.example"), Refuse),
    ],
)
def test_other_answers_are_handed_on(recipient, kind):
    store = Store({ALICE})
    answer = ask(router_of(store), recipient)
    assert isinstance(answer, kind) and getattr(answer, "status", None) != MAILBOX_FULL
    assert store.asked == []


@pytest.mark.parametrize("name", ["alice", "one", "alice+x"])
def test_a_mailbox_that_cannot_be_looked_at_is_deferred(name):
    store = Store(set())
    store.has_room = lambda mailbox: fail(StorageError("it belongs to user 0"))
    with capturedLogs() as told:
        answer = ask(router_of(store), at_home(name))
    assert answer == Defer(MAIL_SYSTEM, "the mailbox cannot be used now; please try again later")
    assert [(event["log_level"].name, formatEvent(event)) for event in told] == [
        ("error", "alice@example.org: mail is deferred: it belongs to user 0")
    ]


def test_a_fault_of_ours_is_not_hidden():
    store = Store(set())
    store.has_room = lambda mailbox: fail(ZeroDivisionError())
    assert ask(router_of(store), ALICE).type is ZeroDivisionError


def test_a_store_that_takes_its_time():
    store = Store(set())
    store.has_room = lambda mailbox: waiting
    waiting = Deferred()
    answers = []
    router_of(store).route(ALICE).addCallback(answers.append)
    assert answers == []
    waiting.callback(True)
    assert isinstance(answers[0], Routed)


def test_the_rest_is_the_routers():
    router = router_of(Store({ALICE}))
    assert verifyObject(IRouter, router)
    for ask_, name in (("verify", "alice"), ("expand", "club")):
        answers = []
        for one in (router, Router(RoutingTable(NAMES))):
            getattr(one, ask_)(name).addCallback(answers.append)
        assert answers[0] == answers[1]
