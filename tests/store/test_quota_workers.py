"""Quotas of a server with several workers."""

import pytest

from mailserver.mail.quota import Quota
from mailserver.store import quota as quotas
from mailserver.store.quota import LARGE_MESSAGES, LARGE_OCTETS, SHARED_FOR, Quotas
from tests.support.store.messages import ALICE

PATH = "example.org/alice"


@pytest.mark.parametrize(
    ("quota", "used", "taken"),
    [
        (None, 10**12, True),
        (Quota(octets=LARGE_OCTETS - 1), 0, False),
        (Quota(octets=LARGE_OCTETS), 0, True),
        (Quota(octets=LARGE_OCTETS), LARGE_OCTETS // 2 - 1, True),
        (Quota(octets=LARGE_OCTETS), LARGE_OCTETS // 2, False),
        (Quota(messages=LARGE_MESSAGES - 1), 0, False),
        (Quota(messages=LARGE_MESSAGES), 0, True),
        (Quota(LARGE_OCTETS, LARGE_MESSAGES - 1), 0, False),
    ],
)
def test_another_worker_delivers_only_where_there_is_room_for_certain(
    tmp_path, monkeypatch, quota, used, taken
):
    monkeypatch.setattr(quotas, "count_usage", lambda box: (used, 1))
    here = Quotas(tmp_path, lambda mailbox: quota, alone=False, decides=False)
    assert here.has_room(ALICE, 1) is taken
    assert here.take(ALICE, PATH, 1) is taken
    if used:  # the first message has filled the half
        assert here.known(ALICE, 1) is (quota is None)
        assert here.take(ALICE, PATH, 1) is (quota is None)


def test_workers_count_more_often(tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(quotas, "count_usage", lambda box: counts.append(box) or (0, 0))
    monkeypatch.setattr(quotas, "check", lambda box: object())  # the mailbox has changed
    clock = [0.0]
    alone, many = (
        Quotas(tmp_path, lambda mailbox: Quota(octets=LARGE_OCTETS), lambda: clock[0], alone=alone)
        for alone in (True, False)
    )
    for when, counted in ((0.0, 2), (SHARED_FOR - 1, 2), (SHARED_FOR + 1, 3)):
        clock[0] = when
        assert alone.take(ALICE, PATH, 1)
        assert many.take(ALICE, PATH, 1)
        assert len(counts) == counted
