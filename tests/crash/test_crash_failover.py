"""The short form of the kills of a primary whose standby takes over, and its control."""

from pathlib import Path

import pytest

from tests.crash.failover import Failover
from tests.support.postgresql_pair import replicated


def run(folder: Path, *, synchronous: bool) -> Failover:
    with replicated(synchronous=synchronous) as pair:
        campaign = Failover(folder, pair, 1, paused=not synchronous)
        try:
            campaign.run(1)
        finally:
            campaign.end()
    return campaign


@pytest.mark.slow
def test_a_primary_is_killed(tmp_path: Path) -> None:
    campaign = run(tmp_path, synchronous=True)
    assert campaign.wrong == []
    assert campaign.accepted_after
    assert campaign.clients.counts["answered"] > 20


@pytest.mark.slow
def test_control(tmp_path: Path) -> None:
    campaign = run(tmp_path, synchronous=False)
    assert any("was answered 250 and is lost" in text for text in campaign.wrong)
