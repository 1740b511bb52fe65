"""The short form of the kills of workers, and its controls."""

import os
import re
from pathlib import Path
from unittest import mock

import pytest

from tests.crash.workers import Campaign

PATIENCE = 20.0  # seconds: a busy machine is not a lock that lasts


@pytest.mark.slow
def test_workers_are_killed(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, 1, "", PATIENCE)
    try:
        campaign.run(6, 1)
    finally:
        campaign.end()
    assert campaign.wrong == []
    assert campaign.kills["worker"] > 1
    assert campaign.clients.counts["answered"] > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("control", "noticed"), [("locks", "two sessions have locked one mailbox"), ("synced", "is back|is gone")]
)
def test_control(tmp_path: Path, control: str, noticed: str) -> None:
    with mock.patch.dict(os.environ):
        campaign = Campaign(tmp_path, 1, control, PATIENCE)
        try:
            campaign.run(100, 1)
        finally:
            campaign.end()
    assert re.search(noticed, "\n".join(campaign.wrong))
