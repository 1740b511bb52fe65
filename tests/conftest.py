"""For all tests: how many run at once, and what is compiled once."""

import gc
import os
import sys

pytest_plugins = ["tests.support.e2e.fixtures", "tests.support.net.fixtures"]

# Hundreds of processes are started here, which would all compile the same modules again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for a server or a clock most of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Garbage is not looked for among ten thousand tests that stay to the end, each time somebody asks."""
    gc.freeze()
