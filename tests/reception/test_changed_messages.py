"""Checks that change a message, drop it, or keep something for each session."""

from itertools import product
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs
from zope.interface import directlyProvides

from mailserver.events.messages import MessageDiscarded
from mailserver.mail.address import Address
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Aside, Destination, Refuse, Routed
from mailserver.queue.entries import InMemoryContent
from mailserver.reception.changed import ContentWithHeader
from mailserver.reception.checks import ACCEPTED, IMessageCheck, ISessionCheck, chain
from mailserver.reception.receiver import MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client
from tests.support.fakes import stand_in
from tests.support.net.fakes import FakeSpool

BOB = Address("bob", "example.org")
REFUSE = Refuse(NOT_AUTHORIZED, "never", "other.key")
FIRST, SECOND = InMemoryContent(b"first"), InMemoryContent(b"second")
ASIDE = Aside("odd", "some.key")


class OnMessages:
    """A check with one verdict, at once or later."""

    def __init__(self, verdict: Any, later: bool = False) -> None:
        directlyProvides(self, IMessageCheck, ISessionCheck)
        self.judged: list[Any] = []
        self.ended: list[str] = []
        self._verdict = succeed(verdict) if later else verdict

    def check_message(self, transaction: Any, content: Any) -> Any:
        self.judged.append(content)
        return self._verdict

    def session_ended(self, session: str) -> None:
        self.ended.append(session)


@pytest.mark.parametrize(
    ("verdicts", "expected", "judged"),
    [
        ([Accept("Ok", b"A", changed=FIRST), ACCEPTED], Accept("Ok", b"A", changed=FIRST), [None, FIRST]),
        (
            [Accept("Ok", b"A", changed=FIRST), Accept("Ok", b"B", changed=SECOND), Accept("Ok", b"C")],
            Accept("Ok", b"ABC", changed=SECOND),
            [None, FIRST, SECOND],
        ),
        (
            [Accept("Ok", b"A", ASIDE), Accept("Ok", changed=FIRST)],
            Accept("Ok", b"A", ASIDE, FIRST),
            [None, None],
        ),
        ([Accept("Ok", changed=FIRST), REFUSE, ACCEPTED], REFUSE, [None, FIRST]),
        (
            [Accept("Ok", b"A"), Accept("Ok", dropped_by="x"), REFUSE],
            Accept("Ok", dropped_by="x"),
            [None, None],
        ),
    ],
)
def test_what_the_next_checks_judge(verdicts: list[Any], expected: Any, judged: list[Any]) -> None:
    for later in product([False, True], repeat=len(verdicts)):
        checks = [OnMessages(*each) for each in zip(verdicts, later, strict=True)]
        result = chain([check.check_message for check in checks])("transaction", None)
        got: list[Any] = []
        result.addCallback(got.append) if isinstance(result, Deferred) else got.append(result)
        assert got == [expected]
        assert [content for check in checks for content in check.judged] == judged


def sent(spool: FakeSpool, *checks: OnMessages) -> Any:
    """The verdict on a message of ten octets."""
    router = stand_in(type("Router", (), {"route": lambda self, address: Routed((Destination(BOB, BOB),))})())
    receiver = MailReceiver(Reception(router, stand_in(spool), checks, hostname="h", new_id=lambda: "id1"))
    receiver.sender(Client("192.0.2.1", session="one"), None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    receiver.write(b"A: 1\r\n\r\n12")
    return receiver.finish()


def test_the_changed_message_is_stored() -> None:
    spool = FakeSpool()
    sent(spool, OnMessages(Accept("Ok", b"X: 1\r\n", changed=FIRST)))
    (message,) = spool.messages
    assert (message.state, message.changed, message.fields) == ("committing", FIRST, b"X: 1\r\n")


def test_a_dropped_message_is_accepted_and_leaves_nothing() -> None:
    spool, got = FakeSpool(), []
    with capturedLogs() as logs:
        sent(spool, OnMessages(Accept("Ok", dropped_by="some.key"))).addCallback(got.append)
    assert got == [Accept("Ok: queued as id1")] and [one.state for one in spool.messages] == ["abandoned"]
    (event,) = [log["log_event"] for log in logs if isinstance(log.get("log_event"), MessageDiscarded)]
    assert (event.id, event.rule, event.client, event.session) == ("id1", "some.key", "192.0.2.1", "one")


def test_the_end_of_a_session() -> None:
    checks = [OnMessages(ACCEPTED), OnMessages(ACCEPTED)]
    Reception(stand_in(None), stand_in(None), checks, hostname="h").session_ended("one")
    assert [check.ended for check in checks] == [["one"]] * 2


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
def test_content_with_another_header(size: int) -> None:
    whole = b"0123456789"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    content: Any = type("Pieces", (), {"size": len(whole), "chunks": lambda self: iter(pieces)})()
    for replaced, header in product(range(len(whole) + 1), [b"", b"new"]):
        changed = ContentWithHeader(header, content, replaced)
        expected = header + whole[replaced:]
        assert b"".join(changed.chunks()) == b"".join(changed.chunks()) == expected
        assert changed.size == len(expected) and all(changed.chunks())
