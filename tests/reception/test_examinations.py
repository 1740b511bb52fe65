"""Examinations: when they begin and end, and what becomes of the octets that they see."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.interfaces import IContent
from mailserver.mail.address import Address
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Refuse
from mailserver.reception.checks import (
    ACCEPTED,
    IExamination,
    IExaminer,
    IFinalCheck,
    IMessageCheck,
    IRecipientCheck,
    ISenderCheck,
)
from mailserver.reception.receiver import MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client, Transaction
from tests.support.fakes import stand_in
from tests.support.net.fakes import FakeRouter, FakeSpool

BOB = Address("bob", "example.org")
NO = Refuse(NOT_AUTHORIZED, "no", "some.key")
CLIENT = Client(ip="192.0.2.1")
CONTENT = b"Subject: x\r\n\r\nhello\r\n"


@implementer(IExamination)
class Noted:
    """An examination that writes down its calls, and turns letters into capitals; it holds one octet back."""

    def __init__(self, examiner: "Examiner") -> None:
        self._calls, self._answers = examiner.calls, examiner.answers
        self._held = b""

    def _noted(self, name: str) -> Any:
        self._calls.append(name)
        return self._answers.get(name, ACCEPTED)

    def check_recipient(self, transaction: Transaction, recipient: Address) -> Any:
        return self._noted("recipient")

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = data[-1:]
        return data[:-1].upper()

    def finish(self) -> bytes:
        return self._held + b"."

    def check_message(self, transaction: Transaction, content: IContent) -> Any:
        self._calls.append(b"".join(content.chunks()).decode())
        return self._noted("message")

    def stop(self) -> None:
        self._noted("stop")


@implementer(IExaminer, ISenderCheck, IRecipientCheck, IMessageCheck)
class Examiner:
    """An examiner, and a check at each of its stages. ``answers`` are the verdicts by name."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[str] = []
        self.answers = answers

    def examine(self, transaction: Transaction) -> Noted | None:
        self.calls.append("examine")
        return None if self.answers.get("none") else Noted(self)

    def _noted(self, name: str) -> Any:
        self.calls.append(name)
        return self.answers.get(name, ACCEPTED)

    def check_sender(self, transaction: Transaction) -> Any:
        return self._noted("check_sender")

    def check_recipient(self, transaction: Transaction, recipient: Address) -> Any:
        return self._noted("check_recipient")

    def check_message(self, transaction: Transaction, content: IContent) -> Any:
        return self._noted("check_message")


@implementer(IFinalCheck)
class Last:
    """A check after all others."""

    def __init__(self, calls: list[str], verdict: Any = ACCEPTED) -> None:
        self._calls, self._verdict = calls, verdict

    def check_final(self, transaction: Transaction, content: IContent) -> Any:
        self._calls.append("final")
        return self._verdict


def started(*examiners: object) -> tuple[MailReceiver, FakeSpool]:
    spool = FakeSpool()
    reception = Reception(stand_in(FakeRouter()), stand_in(spool), examiners, hostname="mail.example.org")
    return MailReceiver(reception), spool


@pytest.mark.parametrize("later", [False, True])
def test_a_message(later: bool) -> None:
    verdict: Any = Accept("Ok", b"X-Examined: yes\r\n")
    if later:
        verdict = Deferred()
    examiner = Examiner(message=verdict, check_message=Accept("Ok", b"X-Checked: yes\r\n"))
    receiver, spool = started(examiner)
    receiver.sender(CLIENT, None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    receiver.write(CONTENT[:5])
    receiver.write(CONTENT[5:])
    receiver.finish()
    [message] = spool.messages
    if later:
        assert message.state == "open"
        verdict.callback(Accept("Ok", b"X-Examined: yes\r\n"))
    stored = CONTENT[:-1].upper() + b"\n."
    assert b"".join(message.chunks) == stored
    assert message.fields == b"X-Checked: yes\r\nX-Examined: yes\r\n"
    order = ["check_sender", "examine", "check_recipient", "recipient", "check_message"]
    assert examiner.calls == [*order, stored.decode(), "message"]
    receiver.abandon()  # the connection ends; nothing is left to stop
    assert examiner.calls[-1] == "message"


def test_several_examinations_are_a_pipe() -> None:
    receiver, spool = started(Examiner(), Examiner(none=True), Examiner())
    receiver.sender(CLIENT, None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    receiver.write(CONTENT)
    receiver.finish()
    assert b"".join(spool.messages[0].chunks) == CONTENT[:-1].upper() + b"\n.."


@pytest.mark.parametrize("examined", [False, True])
@pytest.mark.parametrize(
    ("answers", "final", "state", "calls"),
    [
        ({}, Accept("Ok", b"X-Final: yes\r\n"), "committing", ["check_message", "message", "final"]),
        ({}, NO, "abandoned", ["check_message", "message", "final"]),
        ({"check_message": NO}, ACCEPTED, "abandoned", ["check_message"]),
        ({"message": NO}, ACCEPTED, "abandoned", ["check_message", "message"]),
    ],
)
def test_the_final_check_is_asked_about_what_all_others_have_accepted(
    answers: dict[str, Any], final: Any, state: str, calls: list[str], examined: bool
) -> None:
    if not examined:
        if "message" in answers:
            return
        calls = [call for call in calls if call != "message"]
    examiner = Examiner(**answers, none=not examined)
    receiver, spool = started(Last(examiner.calls, final), examiner)
    receiver.sender(CLIENT, None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    receiver.write(CONTENT)
    receiver.finish()
    assert [call for call in examiner.calls if call in ("check_message", "message", "final")] == calls
    assert spool.messages[0].state == state
    if state == "committing":
        assert spool.messages[0].fields == b"X-Final: yes\r\n"


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ({"check_sender": NO}, "check_sender"),
        ({"check_recipient": NO}, "check_sender examine check_recipient"),
        ({"recipient": NO}, "check_sender examine check_recipient recipient"),
        ({"none": True}, "check_sender examine check_recipient"),
    ],
)
def test_rejected_commands(answers: dict[str, Any], calls: str) -> None:
    examiner = Examiner(**answers)
    receiver, _ = started(examiner)
    verdicts: list[Any] = [receiver.sender(CLIENT, None, {})]
    if receiver.transaction is not None:
        verdicts.append(receiver.recipient(BOB, {}))
    assert (NO in verdicts) == ("none" not in answers)
    assert examiner.calls == calls.split()


@pytest.mark.parametrize("end", ["mail", "disconnect", "reject", "refuse"])
def test_what_the_client_gives_up(end: str) -> None:
    """The next MAIL, the end of the connection, and a message that is too large stop the examination."""
    examiner = Examiner(message=NO)
    receiver, spool = started(examiner)
    receiver.sender(CLIENT, None, {})
    receiver.recipient(BOB, {})
    if end == "mail":
        receiver.sender(CLIENT, None, {})
        assert examiner.calls[4:] == [
            "stop",
            "check_sender",
            "examine",
        ]
        return
    receiver.start()
    receiver.write(CONTENT)
    if end == "disconnect":
        receiver.abandon()
    elif end == "reject":
        receiver.reject("too large", "smtp.max_message_size")
    else:
        receiver.finish()
    assert spool.messages[0].state == "abandoned"
    assert examiner.calls.count("stop") == (end != "refuse")


def test_the_next_message_begins_anew() -> None:
    examiner = Examiner(recipient=NO)
    receiver, _ = started(examiner)
    receiver.sender(CLIENT, None, {})
    assert receiver.recipient(BOB, {}) == NO
    examiner.answers["none"] = True
    receiver.sender(CLIENT, None, {})
    assert receiver.recipient(BOB, {}) != NO
