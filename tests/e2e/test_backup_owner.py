"""A backup by root of data that belongs to another user: everything stays, and comes back, as that user's."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mailserver.queue.sqlite.contents import CONTENTS
from tests.support.backup.killed import make_data, tree
from tests.support.e2e.commands import begin, end, in_process
from tests.support.e2e.server import Makes, configuration
from tests.support.queue.spools import SpoolReactor


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for somebody else")
def test_the_owner_of_the_data(make_server: Makes, nobodys_folder: Path, tmp_path: Path) -> None:
    data = nobodys_folder / "data"
    reactor = SpoolReactor()
    make_data(data, reactor)
    reactor.stop()
    (data / "accounts.db").unlink()  # not one of this program
    (data / "made-accounts.db").unlink()
    subprocess.run(["chown", "-R", "nobody:nogroup", str(data)], check=True)
    server = make_server(configuration().replace('"data"', f'"{data}"'))
    status, out, err = end(begin(server, "backup", str(tmp_path / "backups")))
    assert (status, len(out)) == (0, 1), err
    assert {path.owner() for path in data.rglob("*")} == {"nobody"}
    assert (data / "last-backup.json").exists()
    before = tree(data)
    shutil.rmtree(data)
    assert in_process("restore", str(tmp_path / "backups"), "--to", str(data), "--yes")[0] == 0
    assert {path.owner() for path in [data, *data.rglob("*")]} == {"nobody"}
    assert {path.group() for path in data.rglob("*")} == {"nogroup"}
    assert (data / "spool" / CONTENTS).stat().st_mode & 0o777 == 0o700
    before.pop("last-backup.json")
    assert tree(data) == before
