"""For all tests: how many run at once, where their files are, and what is compiled once."""

import functools
import gc
import importlib.metadata
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = [
    "tests.support.e2e.fixtures",
    "tests.support.net.fixtures",
    "tests.support.database_fixtures",
    "tests.support.real_servers.fixtures",
]

# Hundreds of processes are started here, which would all compile the same modules again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# pytest asks for the version of Twisted around every test, and would read its metadata anew for each.
importlib.metadata.version = functools.cache(importlib.metadata.version)

# Without TMPDIR the files of the tests are in memory, which saves a sixth of the time. .ci/run sets TMPDIR:
# there all tests use a disk.
MEMORY, ENOUGH = Path("/dev/shm"), 2 << 30
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH:
    os.environ.setdefault("TMPDIR", str(MEMORY))
    tempfile.tempdir = None  # forget the folder that was found before

# A test that takes long on a busy machine has not failed.
# .ci/run has the thorough profile for tests with Hypothesis, beside a run with this one.
settings.register_profile("any machine", deadline=None, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=300)
settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for a server or a clock most of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Garbage is not looked for among ten thousand tests that stay to the end, each time somebody asks."""
    gc.freeze()


@pytest.fixture(scope="module")
def young_heap() -> None:
    """For tests that collect garbage often: it is not looked for among all that was there before them."""
    gc.collect()
    gc.freeze()
