"""Stale temporary files, if another worker may need those of this server."""

import os
from pathlib import Path

import pytest

from mailserver.durable.disk import Disk
from mailserver.store.folders import Folders
from tests.support.store.messages import OLD

OURS = "1796084071.M280686P16531Q2R0cb7e6896c0c.mail.example.org"
FOREIGN = "1796084071.P1.elsewhere"


@pytest.mark.parametrize(("alone", "left"), [(True, set()), (False, {OURS})])
def test_what_another_worker_may_need_stays(tmp_path: Path, alone: bool, left: set[str]) -> None:
    tmp = tmp_path / "example.org" / "alice" / "tmp"
    Folders(tmp_path, Disk()).prepare("example.org/alice")
    for name in (OURS, FOREIGN):
        (tmp / name).touch()
        os.utime(tmp / name, (OLD - 40 * 3600, OLD - 40 * 3600))
    Folders(tmp_path, Disk(), alone=alone).prepare("example.org/alice")
    assert {path.name for path in tmp.iterdir()} == left
