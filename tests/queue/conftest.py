from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.queue.runners import Queue
from tests.support.queue.spools import SpoolReactor, Spools


@pytest.fixture
def spool_reactor() -> Iterator[SpoolReactor]:
    reactor = SpoolReactor()
    yield reactor
    reactor.stop()


@pytest.fixture
def spools(tmp_path: Path, spool_reactor: SpoolReactor) -> Iterator[Spools]:
    """A store and a spool that serve."""
    spools = Spools(tmp_path / "data", spool_reactor)
    spools.open()
    spools.calls.fail_none()
    yield spools
    spools.calls.fail_none()
    spools.close()


@pytest.fixture
def queue(spools: Spools) -> Iterator[Queue]:
    queue = Queue(spools)
    yield queue
    queue.stop()
