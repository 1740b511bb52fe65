"""Which messages the conditions of a test match, and what they say of themselves."""

import re

import pytest

from mailserver.testing.matching import Match
from mailserver.testing.message import CaughtMessage

RAW = b"Subject: Reset your password\r\n\r\nHello Bob\r\n"
HTML = b"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>Hello <b>Bob</b></p>"
TO = ("Bob@Example.test", "b\u00fcro@b\u00fcro.test")
MESSAGE = CaughtMessage("1", "shop@example.test", TO, "bob@example.test", RAW, 0.0)
RELAYED = CaughtMessage("1", "shop@example.test", TO, "", RAW, 0.0)
BOUNCE = CaughtMessage("2", "", ("a@b.test",), "", HTML, 0.0)


def is_large(message: CaughtMessage) -> bool:
    return len(message.raw) > 1000


CASES = [
    ({}, MESSAGE, True, "any content"),
    ({"to": None, "subject": None, "where": None}, MESSAGE, True, "any content"),
    ({"to": "bob@example.test"}, MESSAGE, True, 'to="bob@example.test"'),
    ({"to": '"BOB"@EXAMPLE.TEST'}, MESSAGE, True, 'to=""BOB"@EXAMPLE.TEST"'),
    ({"to": "b\u00fcro@b\u00fcro.test"}, MESSAGE, False, 'to="b\u00fcro@b\u00fcro.test"'),
    ({"to": "B\u00dcRO@xn--bro-hoa.test"}, RELAYED, True, 'to="B\u00dcRO@xn--bro-hoa.test"'),
    ({"to": "bo@example.test"}, MESSAGE, False, 'to="bo@example.test"'),
    ({"to": "bob"}, MESSAGE, False, 'to="bob"'),
    ({"to": re.compile("^b.*@")}, MESSAGE, True, 'to matches "^b.*@"'),
    ({"to": re.compile("^ob")}, MESSAGE, False, 'to matches "^ob"'),
    ({"sender": "SHOP@example.test"}, MESSAGE, True, 'sender="SHOP@example.test"'),
    ({"sender": ""}, MESSAGE, False, 'sender=""'),
    ({"sender": ""}, BOUNCE, True, 'sender=""'),
    ({"mailbox": "bob@example.test"}, MESSAGE, True, 'mailbox="bob@example.test"'),
    ({"mailbox": ""}, BOUNCE, True, 'mailbox=""'),
    ({"subject": "your pass"}, MESSAGE, True, 'subject contains "your pass"'),
    ({"subject": "Your"}, MESSAGE, False, 'subject contains "Your"'),
    ({"subject": re.compile("^your", re.I)}, MESSAGE, False, 'subject matches "^your"'),
    ({"subject": re.compile("YOUR", re.I)}, MESSAGE, True, 'subject matches "YOUR"'),
    ({"text": "Hello Bob\n"}, MESSAGE, True, r'text contains "Hello Bob\n"'),
    ({"text": "Hello Bob"}, BOUNCE, True, 'text contains "Hello Bob"'),
    ({"where": lambda message: message.id == "1"}, MESSAGE, True, "where=<lambda>"),
    ({"where": is_large}, MESSAGE, False, "where=is_large"),
    (
        {"to": "bob@example.test", "subject": "Reset", "where": is_large},
        MESSAGE,
        False,
        'to="bob@example.test", subject contains "Reset", where=is_large',
    ),
    (
        {"to": "bob@example.test", "subject": "Welcome"},
        MESSAGE,
        False,
        'to="bob@example.test", subject contains "Welcome"',
    ),
]


@pytest.mark.parametrize(("conditions", "message", "met", "told"), CASES)
def test_conditions(conditions: dict[str, object], message: CaughtMessage, met: bool, told: str) -> None:
    match = Match.of(**conditions)
    assert match.matches(message) is met
    assert match.describe() == told


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({"subjet": "x"}, "unknown condition subjet=; did you mean subject=?"),
        ({"zz": "x"}, "unknown condition zz=; the keys are to, sender, mailbox, subject, text, where, after"),
        ({"to": ["a@b.test"]}, "to= is a str or a compiled regular expression of str, not of list"),
        ({"text": re.compile(b"x")}, "text= is a str or a compiled regular expression of str, not of bytes"),
        ({"after": "x"}, "after= is a message, not str"),
        ({"where": "x"}, "where= is a function of a message, not str"),
    ],
)
def test_wrong_conditions(conditions: dict[str, object], said: str) -> None:
    with pytest.raises(TypeError) as raised:
        Match.of(**conditions)
    assert str(raised.value) == said


def test_the_exception_of_a_condition_is_that_of_the_test() -> None:
    with pytest.raises(ZeroDivisionError):
        Match.of(where=lambda message: 1 / 0).matches(MESSAGE)
