"""How checks come to a verdict, and at which stage each is asked."""

from collections.abc import Callable
from itertools import product
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from mailserver.interfaces import IContent
from mailserver.mail.address import Address
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    NOT_AUTHORIZED,
    Accept,
    CannotVerify,
    Defer,
    Destination,
    Moved,
    Refuse,
    Routed,
    Status,
)
from mailserver.reception.checks import (
    ACCEPTED,
    IClientCheck,
    IHeaderCheck,
    IHeloCheck,
    ILookupCheck,
    IMessageCheck,
    IRecipientCheck,
    IRoutedCheck,
    ISenderCheck,
    chain,
)
from mailserver.reception.receiver import MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client
from tests.support.fakes import stand_in
from tests.support.net.fakes import FakeSpool

BOB = Address("bob", "example.org")
DEFER = Defer(Status(7, 0), "later", "some.key")
REFUSE = Refuse(NOT_AUTHORIZED, "never", "other.key")
ANSWERS: list[Any] = [ACCEPTED, Accept("Ok", b"X-One: 1\r\n"), Accept("Ok", b"X-Two: 2\r\n"), DEFER, REFUSE]


def now_or_later(answers: list[Any], waiting: list[Callable[[], None]], answer: Any, later: bool) -> Any:
    answers.append(answer)
    if not later:
        return answer
    deferred: Deferred[Any] = Deferred()
    waiting.append(lambda: deferred.callback(answer))
    return deferred


@pytest.mark.parametrize("length", range(4))
def test_the_first_objection_decides_and_header_fields_are_collected(length: int) -> None:
    for script in product(product(ANSWERS, [False, True]), repeat=length):
        asked: list[Any] = []
        waiting: list[Callable[[], None]] = []

        def check(answer: Any, later: bool) -> Callable[..., Any]:
            return lambda *subject: now_or_later(asked, waiting, answer, later)  # noqa: B023

        verdict = chain([check(*each) for each in script])("a", "b")
        got: list[Any] = []
        if isinstance(verdict, Deferred):
            verdict.addCallback(got.append)
            while waiting:
                waiting.pop()()
        else:
            got.append(verdict)
            assert not waiting
        answers = [answer for answer, _ in script]
        objections = [number for number, one in enumerate(answers) if not isinstance(one, Accept)]
        last = objections[0] if objections else len(answers)
        assert asked == answers[: last + 1]
        fields = b"".join(one.fields for one in answers[:last])
        assert got == [answers[last] if objections else Accept("Ok", fields)]


# ------------------------------------------------------------ stages


class Recorder:
    """A check and a router in one: it remembers the order in which it is asked."""

    def __init__(self, *stages: Any, **answers: Any) -> None:
        directlyProvides(self, *stages)
        self.calls: list[str] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*subject: object) -> Any:
            self.calls.append(name)
            return self._answers.get(name, ACCEPTED)

        return call


ROUTED = Routed((Destination(BOB, BOB),))
UNKNOWN = Refuse(BAD_MAILBOX, "not here", "routing")
CLIENT = (IHeloCheck, IClientCheck)
ALL = (ISenderCheck, IRecipientCheck, IRoutedCheck, ILookupCheck)
MAIL, RCPT, VRFY, EXPN = "MAIL", "RCPT", "VRFY", "EXPN"


@pytest.mark.parametrize(
    ("command", "stages", "answers", "verdict", "calls"),
    [
        (MAIL, ALL, {}, ACCEPTED, "check_sender"),
        (MAIL, ALL, {"check_sender": DEFER}, DEFER, "check_sender"),
        (MAIL, (IRoutedCheck,), {}, ACCEPTED, ""),
        (MAIL, (*ALL, *CLIENT), {}, ACCEPTED, "check_client check_helo check_sender"),
        (MAIL, (*ALL, *CLIENT), {"check_client": DEFER}, DEFER, "check_client"),
        (MAIL, (*ALL, *CLIENT), {"check_helo": REFUSE}, REFUSE, "check_client check_helo"),
        (MAIL, (*ALL, *CLIENT), {"check_sender": REFUSE}, REFUSE, "check_client check_helo check_sender"),
        (RCPT, ALL, {}, ROUTED, "check_recipient route check_routed"),
        (RCPT, (), {}, ROUTED, "route"),
        (RCPT, ALL, {"check_recipient": DEFER}, DEFER, "check_recipient"),
        (RCPT, ALL, {"check_routed": REFUSE}, REFUSE, "check_recipient route check_routed"),
        (RCPT, ALL, {"route": UNKNOWN}, UNKNOWN, "check_recipient route unknown"),
        (RCPT, ALL, {"route": REFUSE}, REFUSE, "check_recipient route"),
        (RCPT, ALL, {"route": Moved(BOB)}, Moved(BOB), "check_recipient route"),
        (VRFY, ALL, {"verify": CannotVerify()}, CannotVerify(), "check_lookup verify"),
        (VRFY, ALL, {"verify": UNKNOWN}, UNKNOWN, "check_lookup verify unknown"),
        (VRFY, ALL, {"check_lookup": DEFER}, DEFER, "check_lookup"),
        (EXPN, ALL, {"expand": UNKNOWN}, UNKNOWN, "check_lookup expand unknown"),
        (EXPN, (), {"expand": UNKNOWN}, UNKNOWN, "expand"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_the_stages(
    command: str, stages: tuple[Any, ...], answers: dict[str, Any], verdict: object, calls: str, later: bool
) -> None:
    given = {"route": ROUTED, **answers}
    waiting: dict[str, Deferred[Any]] = {name: Deferred() for name in given if later}
    recorder = Recorder(*stages, **(waiting or given))
    reception = Reception(stand_in(recorder), stand_in(FakeSpool()), [recorder], hostname="mail.example.org")
    receiver, client = MailReceiver(reception), Client()
    if command == RCPT:
        receiver.sender(client, None, {})
        if "check_sender" in recorder.calls:
            recorder.calls.remove("check_sender")
    result: Any = {
        MAIL: lambda: receiver.sender(client, None, {}),
        RCPT: lambda: receiver.recipient(BOB, {}),
        VRFY: lambda: reception.verify(client, "bob"),
        EXPN: lambda: reception.expand(client, "bob"),
    }[command]()
    for name, deferred in waiting.items():
        if name in calls:
            assert isinstance(result, Deferred)
        deferred.callback(given[name])
    assert (result.result if isinstance(result, Deferred) else result) == verdict
    assert recorder.calls == calls.split()
    transaction = receiver.transaction
    assert (transaction is not None) == (command == RCPT or verdict is ACCEPTED)
    if transaction is not None:
        assert [each.address for each in transaction.recipients] == ([BOB] if verdict is ROUTED else [])


@pytest.mark.parametrize(
    ("answer", "kept"),
    [(ACCEPTED, True), (Accept("Ok", b"X-One: 1\r\n"), True), (REFUSE, True), (DEFER, False)],
)
def test_a_client_is_checked_again_when_it_has_changed(answer: Any, kept: bool) -> None:
    recorder = Recorder(IClientCheck, IHeloCheck, check_helo=answer)
    receiver = MailReceiver(
        Reception(stand_in(recorder), stand_in(FakeSpool()), [recorder], hostname="mail.example.org")
    )
    client, asked = Client(ip="192.0.2.1", helo="a.example"), ["check_client", "check_helo"]
    for number in (1, 2):
        verdict = receiver.sender(client, None, {})
        assert recorder.calls == asked * (1 if kept else number)
        if isinstance(answer, Accept):
            assert isinstance(verdict, Accept)
            assert receiver.transaction and receiver.transaction.fields == answer.fields
        else:
            assert verdict == answer and receiver.transaction is None
    for changed in ({"helo": "b.example"}, {"tls": "TLSv1.3"}, {"account": BOB}):
        recorder.calls.clear()
        receiver.sender(attrs.evolve(client, **changed), None, {})
        assert recorder.calls == asked


# ------------------------------------------------------------ the message

BUG = ZeroDivisionError("a bug")


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("answer", "state", "lines"),
    [
        (ACCEPTED, "committing", []),
        (Accept("Ok", b"X-One: 1\r\n"), "committing", []),
        (DEFER, "abandoned", ["deferred: <> to <bob@example.org>: later (client 192.0.2.1, some.key)"]),
        (REFUSE, "abandoned", ["rejected: <> to <bob@example.org>: never (client 192.0.2.1, other.key)"]),
        (BUG, "abandoned", []),
    ],
)
@pytest.mark.parametrize("stage", [IHeaderCheck, IMessageCheck])
def test_the_message_is_checked_before_it_is_stored(
    stage: Any, answer: Any, state: str, lines: list[str], later: bool
) -> None:
    spool, waiting = FakeSpool(), Deferred[Any]()
    seen: list[bytes] = []

    class Check:
        def check_message(self, transaction: object, content: IContent) -> Any:
            return self.check_header(transaction, b"".join(content.chunks()))

        def check_header(self, transaction: object, octets: bytes) -> Any:
            seen.append(octets)
            if later:
                return waiting
            if answer is BUG:
                raise BUG
            return answer

    check, router = Check(), Recorder(route=ROUTED)
    directlyProvides(check, stage)
    receiver = MailReceiver(
        Reception(stand_in(router), stand_in(spool), [check], hostname="mail.example.org")
    )
    receiver.sender(Client(ip="192.0.2.1"), None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    receiver.write(b"Subject: a\r\n\r\nHello\r\n")
    [message] = spool.messages
    got: list[Any] = []
    with capturedLogs() as events:
        receiver.finish().addBoth(got.append)
        if later:
            assert message.state == "open" and not got
            waiting.callback(Failure(BUG) if answer is BUG else answer)
        assert seen == [b"Subject: a\r\n" + (b"\r\nHello\r\n" if stage is IMessageCheck else b"")]
        assert message.state == state
        assert [formatEvent(event).partition(": ")[2] for event in events] == lines
        if state == "committing":
            assert message.fields == answer.fields
            message.commits.callback(None)
    [verdict] = got
    if answer is BUG:
        assert verdict.value is BUG
    else:
        assert isinstance(verdict, Accept) if state == "committing" else verdict == answer
