"""What the queue remembers of destinations."""

import pytest

from mailserver.mail import outcome
from mailserver.mail.verdict import BAD_MAILBOX, MAIL_SYSTEM
from mailserver.queue import reachability
from mailserver.queue.reachability import Reachability

LATER = outcome.Deferred(MAIL_SYSTEM, "later")
DOWN = outcome.Deferred(MAIL_SYSTEM, "refused", unreachable=True)


@pytest.mark.parametrize(
    ("results", "is_proven", "is_down"),
    [
        ([outcome.Delivered()], True, False),
        ([outcome.Deferred(MAIL_SYSTEM, "busy", reply="450 busy")], True, False),
        ([outcome.Failed(BAD_MAILBOX, "no", reply="550 no")], True, False),
        ([LATER], False, False),
        ([DOWN], False, True),
        # the last of several recipients met the end of the connection
        ([outcome.Delivered(), DOWN], False, True),
        ([outcome.Deferred(MAIL_SYSTEM, "x", reply="421 x", unreachable=True)], False, True),
    ],
)
def test_what_an_attempt_shows(results, is_proven, is_down):
    known = Reachability()
    assert known.learn("smtp:a", results, 10.0) is is_down
    assert known.is_proven("smtp:a") is is_proven
    found = known.down("smtp:a", 9.9)
    assert (found is not None) is is_down
    if found is not None:
        assert (found.text, found.unreachable) == (results[-1].text, False)
        assert known.down("smtp:a", 10.0) is None
    assert not known.is_proven("smtp:b") and known.down("smtp:b", 0.0) is None


def test_the_last_attempt_counts():
    known = Reachability()
    known.learn("smtp:a", [DOWN], 10.0)
    known.learn("smtp:a", [outcome.Delivered()], 20.0)
    assert (known.is_proven("smtp:a"), known.down("smtp:a", 0.0)) == (True, None)
    known.learn("smtp:a", [DOWN], 10.0)
    assert not known.is_proven("smtp:a")
    known.forget_failures("smtp:a")
    assert known.down("smtp:a", 0.0) is None
    assert known.is_proven("local")


def test_it_is_bounded(monkeypatch):
    monkeypatch.setattr(reachability, "REMEMBERED", 2)
    known = Reachability()
    for name in "abc":
        known.learn(name, [outcome.Delivered()], 0.0)
    assert [known.is_proven(name) for name in "abc"] == [False, True, True]
