"""One listing of the spools of several workers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.app.storage import view_of_all
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.selection import Selection
from tests.support.backup.life import BOXES, FULL, NO_ROOM
from tests.support.queue.spools import SpoolReactor, Spools, WorkerSpools

EACH = 5  # messages


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[tuple[Spools, Spools]]:
    """Each of two workers has messages that are not synced; one message waits."""
    reactor = SpoolReactor()
    both = Spools(tmp_path, reactor), WorkerSpools(tmp_path, reactor)
    both[0].quotas[FULL] = NO_ROOM
    for each in both:
        each.open()
        for number in range(EACH):
            each.wait(each.deliver(b"Subject: %d\r\n\r\n" % number, BOXES[0]))
    both[0].wait(both[0].deliver(b"Subject: waits\r\n\r\n", BOXES[0], FULL))
    yield both
    for each in reversed(both):
        each.close()
    reactor.stop()


@pytest.fixture
def view(spools: tuple[Spools, Spools]) -> ISpoolView:
    return view_of_all(spools[0].root, spools[0].spool.view)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_a_listing_in_pages(view: ISpoolView, spools: tuple[Spools, Spools], limit: int) -> None:
    after: Any = 0
    found: list[Any] = []
    page: list[Any]
    while page := view.page(Selection(), after, limit):
        assert len(page) <= limit
        after = page[-1].seq
        found += page
    expected: list[Any] = [one.id for each in spools for one in each.engine.page(Selection(), 0, 100)]
    assert sorted(one.id for one in found) == sorted(expected)
    assert len(expected) == 2 * EACH + 1 and not any(one.synced for one in found)
    found.sort(key=lambda one: one.seq)
    assert found[0].received <= found[-1].received


def test_one_message(view: ISpoolView, spools: tuple[Spools, Spools]) -> None:
    for each in spools:
        (one,) = each.engine.page(Selection(), 0, 1)
        (shown,) = view.find(str(one.id))
        assert shown.unsynced == (f"{BOXES[0].domain}/{BOXES[0].local}",)
    assert view.find("unknown") == []


def test_what_waits_is_in_the_first_spool(view: ISpoolView, spools: tuple[Spools, Spools]) -> None:
    assert view.counts(0.0) == spools[0].engine.counts(0.0) and view.counts(0.0).waiting == 1
    assert view.summary() == spools[0].engine.summary()
    (one,) = view.page(Selection(recipient=str(FULL)), 0, 100)
    assert [each.address for each in one.recipients] == [str(FULL)]


def test_a_synced_message_is_not_listed(view: ISpoolView, spools: tuple[Spools, Spools]) -> None:
    for each in spools:
        each.checkpoint()
    (one,) = view.page(Selection(), 0, 100)
    assert one.synced
