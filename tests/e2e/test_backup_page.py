"""The commands of docs/backup.md run in their order, on a real server, with folders of the test."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.docs.blocks import blocks
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need
from tests.support.e2e.server import ROOT, Makes, Server

PAGE = ROOT / "docs" / "backup.md"
NIGHTLY = re.compile(r"^(?:ExecStart=/usr/bin/env|30 3 \* \* \* root) (.*)$", re.MULTILINE)


def run(command: str, server: Server, folder: Path) -> str:
    """Run commands, which must succeed. Those of backup find their configuration by themselves."""
    program = folder / "bin" / "mailserver"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={ROOT}\n"
            f'[ "$1" = restore ] || set -- "$@" --config {server.config}\n'
            f'exec {sys.executable} -m mailserver "$@"\n'
        )
        program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command.replace("/var/backups", str(folder / "backups"))],
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_page(make_server: Makes, tmp_path: Path) -> None:
    need("gzip")
    server = make_server().start()
    (tmp_path / "backups").mkdir()
    alice = Mailbox(server, "alice")
    alice.fill(b"Subject: one\r\n\r\n")
    verified = 0
    for block in blocks(PAGE):
        if block.kind == "text":
            for command in NIGHTLY.findall(block.text):
                verified += "all well" in run(command, server, tmp_path)
            continue
        if block.heading == "## Restore" and "--to" not in block.text:
            if server.process is not None:
                server.stop()
            if "--replace" not in block.text:  # a new machine
                server.data.rename(tmp_path / "gone")
                server.config.rename(tmp_path / "gone.toml")
        verified += "all well" in run(block.text, server, tmp_path)
    assert verified == 4  # by hand, by systemd, by cron, and the one that was unpacked
    assert len(list((tmp_path / "backups" / "try" / "mail").rglob("*S=*"))) == 1
    server.start()
    assert len(alice.uids()) == 1
    (old,) = server.directory.glob("data.before-*")
    assert old.is_dir()
