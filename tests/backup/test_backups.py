"""Backups in folders and as streams, what they find out about damage, and what a restoration refuses."""

import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from mailserver.app.backup import copy_spools, other_files
from mailserver.app.data import data_lock
from mailserver.backup.copying import BackupCopy, BackupSource
from mailserver.backup.folder import FolderTarget
from mailserver.backup.generations import Generations
from mailserver.backup.manifest import NAME, BackupDamaged, Manifest
from mailserver.backup.restore import Restoration, RestoreRefused
from mailserver.backup.stream import TarTarget
from mailserver.config.loader import load
from mailserver.durable.copies import open_regular
from mailserver.durable.disk import Disk
from mailserver.errors import DataInUse
from tests.support.backup.killed import FarCalls, back_up, make_data, problems, restore, tree
from tests.support.backup.life import QuickCalls, origin
from tests.support.queue.spools import SpoolReactor


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reactor = SpoolReactor()
    folder = tmp_path_factory.mktemp("original") / "data"
    make_data(folder, reactor)
    reactor.stop()
    return folder


@pytest.fixture
def data(original: Path, tmp_path: Path) -> Path:
    """A data directory of its own for each test."""
    subprocess.run(["cp", "-a", str(original), str(tmp_path / "data")], check=True)
    return tmp_path / "data"


@pytest.fixture
def backups(data: Path, tmp_path: Path) -> Path:
    back_up(data, tmp_path / "backups", Disk(QuickCalls()))
    return tmp_path / "backups"


def messages(data: Path) -> list[Path]:
    return sorted(path for path in data.glob("mail/*/*/*/*") if path.parent.name in ("new", "cur"))


# ------------------------------------------------------------ further backups


@pytest.mark.parametrize("calls", [QuickCalls, FarCalls], ids=["links", "copies"])
def test_only_what_is_new_is_written_again(data: Path, tmp_path: Path, calls: type[QuickCalls]) -> None:
    folder = tmp_path / "backups"
    first = back_up(data, folder, Disk(calls()), 0.0)
    assert first.fresh > 8
    flagged, removed, *_ = messages(data)
    flagged.rename(flagged.parent.parent / "cur" / f"{flagged.name}:2,S")
    removed.unlink()
    (removed.parent / "1.new").write_bytes(b"Subject: new\r\n\r\n")
    second = back_up(data, folder, Disk(calls()), 60.0)
    databases = 3  # the accounts, and the spools of two workers
    copied_spool = 0 if calls is QuickCalls else 3  # contents and sources, which are links in the data
    assert second.fresh <= databases + 1 + copied_spool
    generation = folder / "1970-01-01T000100Z" / "data"
    assert [path.relative_to(generation) for path in messages(generation)] == [
        path.relative_to(data) for path in messages(data)
    ]
    assert [problems(path) for path in Generations(folder, Disk()).complete()] == [[], []]


def test_an_interrupted_backup_is_used_as_far_as_it_is_whole(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    disk = Disk(FarCalls())
    generations = Generations(folder, disk)
    with generations.lock():
        partial = generations.begin(0.0)
        with FolderTarget(partial, origin(data), disk) as target:
            source = BackupSource(data, [], lambda: copy_spools(data, disk), {})
            for _ in BackupCopy(source, target, disk).run():
                pass
    # As after a power failure: one file is damaged, and the rename is lost.
    torn = messages(partial / "data")[0]
    torn.write_bytes(b"x" * torn.stat().st_size)
    os.utime(torn, ns=(0, messages(data)[0].stat().st_mtime_ns))
    second = back_up(data, folder, Disk(FarCalls()), 60.0)
    assert 0 < second.fresh < 8
    (complete,) = generations.complete()
    assert problems(complete) == []
    assert list(folder.glob("*.partial")) == []


def test_the_same_message_in_several_mailboxes_is_copied_once(data: Path, tmp_path: Path) -> None:
    first, *_ = messages(data)
    for box in ("anna", "bert"):
        os.link(first, data / "mail" / "example.org" / box / "cur" / f"{first.name}.{box}")
    back_up(data, tmp_path / "backups", Disk(FarCalls()))
    (generation,) = Generations(tmp_path / "backups", Disk()).complete()
    same = [path.stat().st_ino for path in messages(generation / "data") if first.name in path.name]
    assert len(same) == 3 and len(set(same)) == 1


def test_keep(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    for _ in range(3):
        back_up(data, folder, Disk(QuickCalls()), 0.0, keep=2)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "1970-01-01T000001Z", "1970-01-01T000002Z"
    ]  # fmt: skip


def test_a_file_that_cannot_be_read_is_reported(data: Path, tmp_path: Path) -> None:
    bad = messages(data)[0]

    def opened(path: str) -> int:
        if path == str(bad):
            raise PermissionError(13, "Permission denied", path)
        return open_regular(path)

    with (
        patch("mailserver.backup.target.open_regular", opened),
        pytest.raises(AssertionError, match=f"{bad.name}: Permission denied"),
    ):
        back_up(data, tmp_path / "backups", Disk(QuickCalls()))


# ------------------------------------------------------------ streams


def test_a_stream_is_a_backup_for_tar(data: Path, tmp_path: Path) -> None:
    stream, disk = io.BytesIO(), Disk(QuickCalls())
    with TarTarget(stream, origin(data)) as target:
        source = BackupSource(data, [], lambda: copy_spools(data, disk), {})
        for _ in BackupCopy(source, target, disk).run():
            pass
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-xpf", "-", "-C", str(unpacked)], input=stream.getvalue(), check=True)
    assert problems(unpacked) == []
    restore(unpacked, tmp_path / "restored", disk)
    assert tree(tmp_path / "restored") == tree(data)
    for path in messages(data):
        other = tmp_path / "restored" / path.relative_to(data)
        assert other.stat().st_mtime_ns == path.stat().st_mtime_ns
        assert other.stat().st_mode == path.stat().st_mode


# ------------------------------------------------------------ damage


def _cut(generation: Path) -> None:
    path = generation / NAME
    path.write_bytes(path.read_bytes()[:-9])


def _change(generation: Path) -> None:
    path = generation / NAME
    path.write_bytes(
        path.read_bytes().replace(b'"mailbox": "example.org/anna"', b'"mailbox": "example.org/otto"')
    )


def _remove(generation: Path) -> None:
    messages(generation / "data")[0].unlink()


def _flip(generation: Path) -> None:
    path = messages(generation / "data")[0]
    octets = path.read_bytes()
    path.unlink()  # it may be a link
    path.write_bytes(octets[:-1] + b"?")


def _grow(generation: Path) -> None:
    path = messages(generation / "data")[0]
    octets = path.read_bytes()
    path.unlink()
    path.write_bytes(octets + b"?")


def _add(generation: Path) -> None:
    (generation / "data" / "more").touch()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_change, "does not match its checksum"),
        (_remove, "is missing"),
        (_flip, "does not match its checksum"),
        (_grow, "octets instead of"),
        (_add, "has 1 more files than its manifest lists"),
    ],
)
def test_damage_is_found(backups: Path, damage: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    generation = Generations(backups, Disk()).find(None)
    damage(generation)
    (problem,) = problems(generation)
    assert told in problem
    if damage not in (_add,):
        with pytest.raises(BackupDamaged):
            restore(backups, tmp_path / "restored", Disk(QuickCalls()))
        assert not (tmp_path / "restored").exists()


def test_an_incomplete_manifest_is_no_backup(backups: Path) -> None:
    generation = Generations(backups, Disk()).find(None)
    _cut(generation)
    with pytest.raises(BackupDamaged, match="is incomplete"):
        problems(generation)


def test_a_path_that_leads_out_of_the_backup(backups: Path) -> None:
    generation = Generations(backups, Disk()).find(None)
    path = generation / NAME
    path.write_bytes(path.read_bytes().replace(b'"file": "data/', b'"file": "data/../../', 1))
    assert problems(generation) == [f"{path}: is damaged"]


def test_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupDamaged, match="has no complete backup"):
        Generations(tmp_path, Disk()).find(None)
    with pytest.raises(BackupDamaged, match='has no backup "x"'):
        Generations(tmp_path, Disk()).find("x")


# ------------------------------------------------------------ restoration


def _refused(backups: Path, target: Path, **options: object) -> str:
    manifest = Manifest(Generations(backups, Disk()).find(None))
    restoration = Restoration(manifest, target, Disk(), **{"format": 1, **options})  # type: ignore[arg-type]
    with pytest.raises((RestoreRefused, DataInUse)) as refused, closing(restoration.run()) as steps:
        next(steps)
    return str(refused.value)


def test_what_a_restoration_refuses(backups: Path, data: Path, tmp_path: Path) -> None:
    before = tree(data)
    assert "is not empty; --replace" in _refused(backups, data)
    with data_lock(data):
        assert "is locked by another process" in _refused(backups, data, replace=True)
    assert "of a newer version of mailserver" in _refused(backups, tmp_path / "new", format=0)
    assert "there is no such folder" in _refused(backups, tmp_path / "none" / "new")
    with patch.object(Path, "is_mount", lambda path: True):
        assert "is the root of a file system" in _refused(backups, tmp_path / "new")
    assert tree(data) == before and not (tmp_path / "new").exists()


def test_an_empty_folder_is_filled(backups: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    restore(backups, tmp_path / "new", Disk(QuickCalls()))
    assert tree(tmp_path / "new") == tree(data)


@pytest.fixture
def configured(data: Path, tmp_path: Path) -> Iterator[Path]:
    """A configuration that names files."""
    for name in ("key.pem", "password", "own.pem", "certificate.pem"):
        (tmp_path / name).write_text(name)
    path = tmp_path / "mailserver.toml"
    path.write_text(
        'data = "data"\nhostname = "mail.example.org"\n'
        '[relay]\nsmarthost = "mx.example.net:587"\nsmarthost_user = "me"\n'
        'smarthost_password_file = "password"\n'
        '[[dkim]]\ndomain = "mail.example.org"\nselector = "s"\nkey = "key.pem"\n'
        '[tls]\ncertificate = "certificate.pem"\nprivate_key = "own.pem"\n'
    )
    yield path


def test_the_files_of_the_configuration(configured: Path, data: Path, tmp_path: Path) -> None:
    """The private key of the certificate is not among them. Those that are missing come back."""
    disk = Disk(QuickCalls())
    others = other_files(load(configured), configured)
    assert [path.name for path in others] == ["mailserver.toml", "certificate.pem", "password", "key.pem"]
    generations = Generations(tmp_path / "backups", disk)
    with generations.lock():
        partial = generations.begin(0.0)
        with FolderTarget(partial, origin(data), disk) as target:
            for _ in BackupCopy(BackupSource(data, others, lambda: None, {}), target, disk).run():
                pass
        generations.finish(partial)
    generation = generations.find(None)
    assert problems(generation) == []
    (tmp_path / "key.pem").unlink()
    (tmp_path / "password").write_text("another")
    restoration = Restoration(Manifest(generation), data, disk, format=1)
    lines = list(restoration.configuration())
    assert [line.partition(": ")[0] for line in lines] == [
        str(tmp_path / "password"),
        str(tmp_path / "key.pem"),
    ]
    assert (tmp_path / "key.pem").read_text() == "key.pem"
    assert (tmp_path / "password").read_text() == "another"


def test_the_first_line_of_a_manifest(backups: Path, data: Path) -> None:
    line = (Generations(backups, Disk()).find(None) / NAME).read_text().splitlines()[0]
    assert json.loads(line)["data"] == str(data)
