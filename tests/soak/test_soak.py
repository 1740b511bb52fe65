"""The soak, short form: one minute."""

from pathlib import Path

import pytest

from tests.soak.soak import soak

# Octets. The bound of the long form is 10 MiB, which not every run of a minute keeps.
MOST_GROWTH = 40 * 1024 * 1024


@pytest.mark.slow
def test_soak(tmp_path: Path) -> None:
    outcome = soak(tmp_path, 60)
    assert not outcome.problems(MOST_GROWTH), outcome.table()
