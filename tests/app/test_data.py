"""The data directory: the spools of all workers are known to its checks."""

from pathlib import Path

import pytest

from mailserver.app.data import checks, own_files, worker_queue_file, worker_queue_files
from mailserver.durable.database import marker
from mailserver.durable.disk import Disk
from mailserver.mail.finding import Finding
from mailserver.queue.sqlite.engine import SQLiteSpool


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with the spools of the workers 2 and 10, and of one that creates its own just now."""
    (tmp_path / "spool").mkdir()
    for number in (10, 2):
        engine = SQLiteSpool(worker_queue_file(tmp_path, number), Disk())
        engine.open()
        engine.close()
    begun = worker_queue_file(tmp_path, 3)
    for path in (begun, tmp_path / "spool" / "worker-0" / "queue.db"):
        path.parent.mkdir()
        path.touch()
    return tmp_path


def test_the_spools_of_other_workers(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert worker_queue_files(data) == {number: worker_queue_file(data, number) for number in (2, 3, 10)}
    assert worker_queue_files(tmp_path_factory.mktemp("new")) == {}


@pytest.mark.parametrize("worker", [0, 2, 10])
def test_a_missing_database_is_found(data: Path, worker: int) -> None:
    if worker:
        worker_queue_file(data, worker).unlink()
    found = [each for check in checks(data)[-1:] for each in check.run() if isinstance(each, Finding)]
    assert [(each.path, each.wrong) for each in found] == (
        [(worker_queue_file(data, worker), "is missing")] if worker else []
    )


def test_files_of_other_workers_are_own_files(data: Path) -> None:
    path = worker_queue_file(data, 2)
    assert {path, path.parent} <= set(own_files(data))
    assert marker(path).exists()
