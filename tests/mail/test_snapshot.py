"""The packed messages of a maildrop."""

import pytest

from mailserver.mail.snapshot import PACKED_AT_ONCE, Snapshot


@pytest.mark.parametrize(
    "count", [0, 1, PACKED_AT_ONCE - 1, PACKED_AT_ONCE, PACKED_AT_ONCE + 1, 2 * PACKED_AT_ONCE + 7]
)
def test_packing_changes_nothing(count: int) -> None:
    uids, sizes = [f"uid{'x' * (number % 5)}{number}" for number in range(count)], list(range(count))
    snapshot = Snapshot((uid for uid in uids), sizes)
    assert len(snapshot) == count and snapshot.octets == sum(sizes)
    assert [snapshot.uid(number) for number in range(count)] == uids
    assert [(each.uid, each.size) for each in snapshot] == list(zip(uids, sizes, strict=True))
    for start in (0, 1, count - 1, PACKED_AT_ONCE):
        if start >= 0:
            assert list(snapshot.uids(start, start + 100)) == uids[start : start + 100]
