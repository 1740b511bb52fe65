"""``mailserver backup`` and ``restore`` with a real server, under load.

``BACKUP_LOAD=20`` makes so many backups, one after the other.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mailserver.durable.lock import DataLock
from tests.support.backup.load import Load, tokens
from tests.support.e2e.commands import Ended, begin, end, environment, in_process, mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need
from tests.support.e2e.server import ROOT, UNCHECKED, Makes, Server, configuration, wait_until

BOXES = ["alice", "bob", "carol", "dave"]
SENDERS = 20
BACKUPS = int(os.environ.get("BACKUP_LOAD", 1))
PROGRESS = re.compile(r"\d+ of \d+ (mailboxes|files)")
CONFIGURATION = configuration(accounts=BOXES, tables=UNCHECKED)


def found(server: Server) -> set[str]:
    return {token for name in BOXES for text in Mailbox(server, name).messages() for token in tokens(text)}


def backup(server: Server, *words: str) -> Ended:
    """Run the command as a process, as it changes its own priority."""
    return without_progress(end(begin(server, "backup", *words)))


def without_progress(ended: Ended) -> Ended:
    """Without the lines that only a busy machine sees."""
    status, out, err = ended
    return status, out, [line for line in err if not PROGRESS.fullmatch(line)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_backups_under_load(make_server: Makes, tmp_path: Path, workers: int) -> None:
    """Nothing accepted before the start is missing, nothing removed before it is back. Nothing is damaged."""
    top = f"allow_root = true\nworkers = {workers}"
    text = configuration(top=top, accounts=BOXES, tables=UNCHECKED)
    server = make_server(text).start()
    load = Load(server, SENDERS, BOXES, most=50 * BACKUPS)
    load.start()
    befores = []
    try:
        for number in range(BACKUPS):
            wait_until(lambda: len(load.now().removed) > 8 * (number + 1) or load.failed, "removals")  # noqa: B023
            befores.append(load.now())
            status, out, err = backup(server, str(tmp_path / "backups"))
            assert (status, len(out), err) == (0, 1, []), (out, err)
            assert mailserver(server, "verify")[0] == 0
    finally:
        load.stop()
        server.kill()
        load.join()
    after = load.now()
    generations = sorted((tmp_path / "backups").iterdir())[1:]
    record = json.loads((server.data / "last-backup.json").read_text())
    assert record["directory"] == str(generations[-1])
    for number, (generation, before) in enumerate(zip(generations, befores, strict=True)):
        other = make_server(text)
        words = ("--generation", generation.name, "--to", str(other.data), "--yes")
        status, out, err = without_progress(in_process("restore", str(tmp_path / "backups"), *words))
        assert (status, err) == (0, []), err
        other.start()
        there = found(other)
        other.stop()
        lost, back = before.accepted - after.asked - there, before.removed & there
        assert (lost, back) == (frozenset(), frozenset()), f"backup {number}"
        assert not (other.data / "damaged").exists()
        assert mailserver(other, "verify")[0] == 0


def test_a_stream_of_a_running_server(make_server: Makes, tmp_path: Path) -> None:
    """What tar has unpacked is verified and restored. Wrong usage and refusals are one line."""
    need("tar")
    server = make_server(CONFIGURATION).start()
    Mailbox(server, "alice").fill(b"Subject: one\r\n\r\n")
    tar = tmp_path / "backup.tar"
    command = [sys.executable, "-m", "mailserver", "backup", "-", "--config", str(server.config)]
    with tar.open("wb") as file:
        done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=file, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-xpf", str(tar), "-C", str(unpacked)], check=True)
    assert json.loads((server.data / "last-backup.json").read_text())["directory"] == "-"
    status, (line,), err = without_progress(in_process("restore", str(unpacked), "--check"))
    counts = f"1 message in 1 mailbox, 0 queued messages, 0 accounts, {_files(unpacked)} files: all well"
    assert (status, err) == (0, []) and line.endswith(counts)
    assert in_process("backup", "--verify", str(unpacked))[0] == 0
    inside = ("backup", str(server.data / "x"), "--config", str(server.config))
    told = {
        inside: (2, "must not be in the data directory"),
        ("backup", "-", "--keep", "1"): (2, "need a folder"),
        ("backup", str(tmp_path), "--generation", "x"): (2, "is for --verify"),
        ("backup", "--verify", str(tmp_path)): (1, "has no complete backup"),
        ("restore", str(unpacked)): (1, "is not empty"),
        ("restore", str(unpacked), "--to", str(tmp_path / "new")): (2, "use --yes"),
        ("restore", str(unpacked), "--replace", "--yes"): (1, "is locked by another process"),
        ("restore", str(tmp_path / "none")): (2, "does not exist"),
    }
    for words, (status, text) in told.items():
        ended = without_progress(in_process(*words))
        assert (ended[0], len(ended[2])) == (status, 1) and text in ended[2][0], (words, ended)
    next(path for path in unpacked.glob("data/mail/**/*S=*")).write_bytes(b"torn")
    status, _, err = without_progress(in_process("restore", str(unpacked), "--check"))
    assert status == 1 and "has 4 octets instead of" in err[0]


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*")) - 1  # the manifest


@pytest.mark.slow
@pytest.mark.parametrize("point", ["data/mail", "data/spool", "manifest.jsonl"])
def test_a_killed_backup_of_a_running_server(make_server: Makes, tmp_path: Path, point: str) -> None:
    """The server goes on, and the next backup is whole."""
    server = make_server(CONFIGURATION).start()
    Mailbox(server, "alice").fill(*[b"Subject: m%d\r\n\r\n" % number for number in range(30)])
    process = begin(server, "backup", str(tmp_path / "backups"))
    wait_until(lambda: list(tmp_path.glob(f"backups/*/{point}")) or process.poll() is not None, point)
    process.send_signal(signal.SIGKILL)
    end(process)
    status, out, err = backup(server, str(tmp_path / "backups"), "--keep", "1")
    assert (status, err) == (0, [])
    assert "30 messages in 1 mailbox" in out[0]
    (left,) = [path for path in (tmp_path / "backups").iterdir() if path.name != ".lock"]
    assert in_process("backup", "--verify", str(left))[0] == 0
    Mailbox(server, "alice").fill(b"Subject: after\r\n\r\n")


@pytest.mark.slow
def test_two_backups_at_once(make_server: Makes, tmp_path: Path) -> None:
    """The second one says who makes the first. Without a server, the data and the owner of each file stay."""
    server = make_server(CONFIGURATION).start()
    Mailbox(server, "bob").fill(b"Subject: one\r\n\r\n")
    server.kill()
    (tmp_path / "backups").mkdir()
    with DataLock(tmp_path / "backups" / ".lock"):
        status, out, (line,) = mailserver(server, "backup", str(tmp_path / "backups"))
    assert (status, out) == (1, []) and "is locked by another process" in line
    assert backup(server, str(tmp_path / "backups"))[0] == 0
    server.start()
    assert found(server) == {"one"}
