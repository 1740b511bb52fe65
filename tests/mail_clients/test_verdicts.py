"""The words of docs/fixture-clients.md: which outcome has which."""

import pytest

from tests.support.mail_clients.clients import ClientOutcome
from tests.support.mail_clients.verdicts import Fetched, Sent, Verdict, judge_fetching, judge_sending

OK, FAILED = ClientOutcome(True, ""), ClientOutcome(False, "cannot")
FETCHED = Fetched(1, 0, False, True)
LATER = Fetched(1, 0, False, False)


@pytest.mark.parametrize(
    ("sent", "runs", "verdict"),
    [
        (Sent((1,)), [OK], Verdict.ONCE),
        (Sent((1,)), [FAILED, OK], Verdict.AGAIN),
        (Sent((0,)), [FAILED], Verdict.REPORTED),
        (Sent((0,)), [FAILED, FAILED], Verdict.REPORTED),
        (Sent((0,)), [OK], Verdict.LOST),
        (Sent((2,)), [FAILED, OK], Verdict.TWICE),
        (Sent((0,), damaged=1), [OK], Verdict.DAMAGED),
        (Sent((1,), refused=1), [FAILED], Verdict.REPORTED),
        (Sent((0,), refused=1), [FAILED], Verdict.NOBODY),
        (Sent((1,), refused=1), [OK], Verdict.SILENT),
    ],
)
def test_sending(sent: Sent, runs: list[ClientOutcome], verdict: Verdict) -> None:
    assert judge_sending(sent, runs) is verdict


@pytest.mark.parametrize(
    ("message", "runs", "verdict"),
    [
        (FETCHED, [OK, OK], Verdict.ONCE),
        (FETCHED, [FAILED, OK], Verdict.AGAIN),
        (LATER, [FAILED, OK], Verdict.AGAIN),
        (LATER, [OK, OK], Verdict.LATE),
        (Fetched(2, 0, False, True), [FAILED, OK], Verdict.TWICE),
        (Fetched(1, 1, False, False), [FAILED, OK], Verdict.PARTIAL),
        (Fetched(0, 1, False, False), [OK, OK], Verdict.DAMAGED),
        (Fetched(0, 0, False, False), [OK, OK], Verdict.LOST),
        (Fetched(1, 0, True, True), [OK, OK], Verdict.KEPT),
        (Fetched(0, 0, True, False), [FAILED, OK], Verdict.STUCK),
    ],
)
def test_fetching(message: Fetched, runs: list[ClientOutcome], verdict: Verdict) -> None:
    assert judge_fetching([FETCHED, message], runs) is verdict


def test_nothing_fetched_is_reported() -> None:
    here = Fetched(0, 0, True, False)
    assert judge_fetching([here, here], [FAILED, FAILED]) is Verdict.REPORTED
    assert judge_fetching([here, here], [OK, OK]) is Verdict.STUCK
