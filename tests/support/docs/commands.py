"""Runs the blocks of a page for administrators. The command finds its configuration by itself."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.docs.blocks import Block
from tests.support.e2e.server import ROOT, Server


def administer(block: Block, server: Server, folder: Path) -> str:
    """Run the commands of a block, which must succeed, in ``folder``. Returns what they print."""
    command = folder / "bin" / "mailserver"
    if not command.exists():
        command.parent.mkdir()
        command.write_text(
            f"#!/bin/sh\nPYTHONPATH={ROOT} "
            f'exec {sys.executable} -m mailserver "$@" --config {server.config}\n'
        )
        command.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout
