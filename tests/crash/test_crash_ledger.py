"""The ledger finds what must not be, and nothing else: what each crash test relies on."""

import pytest

from tests.crash.ledger import Ledger, Sent

TRACE = (
    b"Return-Path: <s@client.example>\r\nDelivered-To: a@example.org\r\nReceived: from c\r\n\tby m; now\r\n"
)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger("test")


def sent(ledger: Ledger, begun: int = 1, answered: int = 0, refused: int = 0) -> Sent:
    one = ledger.new(["a"], ["a"], 300)
    for _ in range(begun):
        ledger.begins(one)
    one.answered, one.refused = answered, refused
    return one


def stored(one: Sent) -> bytes:
    return TRACE + one.octets


@pytest.mark.parametrize(
    ("begun", "answered", "refused", "copies", "wrong"),
    [
        (0, 0, 0, 0, ""),
        (1, 1, 0, 1, ""),
        (1, 0, 0, 0, ""),
        (1, 0, 0, 1, ""),
        (1, 0, 1, 0, ""),
        (2, 1, 0, 1, ""),
        (2, 1, 0, 2, ""),
        (1, 1, 0, 0, "is lost"),
        (2, 1, 0, 0, "is lost"),
        (1, 1, 0, 2, "is here 2 times"),
        (1, 0, 0, 2, "is here 2 times"),
        (1, 0, 1, 1, "is here 1 times"),
        (2, 1, 0, 3, "is here 3 times"),
    ],
)
def test_copies(ledger: Ledger, begun: int, answered: int, refused: int, copies: int, wrong: str) -> None:
    one = sent(ledger, begun, answered, refused)
    problems = ledger.check("a", {f"uid{number}": stored(one) for number in range(copies)})
    assert len(problems) == bool(wrong)
    assert wrong in "".join(problems)


def test_what_is_no_message_of_ours_is_wrong(ledger: Ledger) -> None:
    one, elsewhere = sent(ledger), ledger.new(["b"], ["b"], 300)
    for octets, wrong in (
        (stored(one)[:-1], "torn"),
        (stored(one).replace(b"1\r\n", b"2\r\n"), "torn"),
        (stored(one)[:50], "torn"),
        (one.octets, "torn"),
        (b"", "torn"),
        (stored(elsewhere), "never was for this mailbox"),
    ):
        problems = ledger.saw("a", f"uid of {octets!r}", octets)
        assert len(problems) == 1 and wrong in problems[0]


def test_what_was_seen_stays_as_it_was(ledger: Ledger) -> None:
    one = sent(ledger, begun=2, answered=1)
    assert ledger.check("a", {"one": stored(one)}) == []
    assert ledger.unread("a", ["one", "two"]) == ["two"]
    assert ledger.check("a", {"one": None}) == []
    (changed,) = ledger.check("a", {"one": stored(one).replace(b"now", b"new")})
    assert "has changed" in changed
    (gone,) = ledger.check("a", {"another": stored(one)})
    assert "one (test.1) is gone" in gone


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_removal(ledger: Ledger, answered: bool, there: bool) -> None:
    one = sent(ledger, answered=1)
    assert ledger.saw("a", "one", stored(one)) == []
    ledger.quits("a", ["one"])
    if answered:
        ledger.quit_answered("a", ["one"])
    found = {"one": None}
    wrong = ledger.check("a", found if there else {})
    assert len(wrong) == (there and answered)
    if not there:
        (back,) = ledger.check("a", found)
        assert "one was removed and is back" in back
    elif not answered:
        (gone,) = ledger.check("a", {})
        assert "is gone" in gone


def test_a_removed_message_does_not_come_back_under_another_name(ledger: Ledger) -> None:
    one = sent(ledger, answered=1)
    assert ledger.check("a", {"one": stored(one)}) == []
    ledger.quits("a", ["one"])
    ledger.quit_answered("a", ["one"])
    (twice,) = ledger.check("a", {"two": stored(one)})
    assert "is here 2 times" in twice
    ledger.emptied("a")
    (foreign,) = ledger.check("a", {"three": stored(one)})
    assert "or was removed from it" in foreign
