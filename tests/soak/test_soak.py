"""The soak, short form: one minute of attacks to warm up, and one that is measured."""

from pathlib import Path

import pytest

from tests.soak.soak import soak


@pytest.mark.slow
def test_soak(tmp_path: Path) -> None:
    outcome = soak(tmp_path, 60)
    # Other tests may keep the machine busy. The server of before needed nine seconds.
    assert not outcome.problems(most_wait=1.0), outcome.table()
