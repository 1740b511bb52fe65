"""For all tests: how many run at once, and that none changes the process for those that come after it."""

import os
import resource
from collections.abc import Iterator

import pytest


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for a server or a clock most of the time."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(autouse=True)
def _process_stays_as_it_was() -> Iterator[None]:
    """A server that runs in this process sets both for itself."""
    mask, limit = os.umask(0o077), resource.getrlimit(resource.RLIMIT_NOFILE)
    os.umask(mask)
    yield
    os.umask(mask)
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
