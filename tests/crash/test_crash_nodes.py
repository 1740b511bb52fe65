"""The short form of the kills of servers that share a database, and its control."""

import os
from pathlib import Path
from unittest import mock

import pytest

from tests.crash.nodes import LOST, Campaign
from tests.support.postgresql import running


@pytest.mark.slow
def test_servers_and_their_database_are_killed(tmp_path: Path) -> None:
    with running() as database:
        campaign = Campaign(tmp_path, database, 2)
        try:
            campaign.run(4, 2)
        finally:
            campaign.end()
    assert campaign.wrong == []
    assert campaign.moments["kill"] and campaign.moments["cut"]
    assert campaign.clients.counts["answered"] > 20


@pytest.mark.slow
def test_control(tmp_path: Path) -> None:
    with mock.patch.dict(os.environ), running() as database:
        campaign = Campaign(tmp_path, database, 1, "fence")
        try:
            campaign.run(100, 1)
        finally:
            campaign.end()
    assert LOST in campaign.wrong
