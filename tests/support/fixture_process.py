"""``mailserver fixture`` as a process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.e2e.server import ROOT, wait_until

COMMAND = [sys.executable, "-m", "mailserver", "fixture"]
# The checkout is enough: nothing need be installed.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def running_fixture(folder: Path, *options: str) -> Iterator[dict[str, Any]]:
    """The ready file of a fixture that ends with status 0 at the end of the block."""
    ready = folder / "ready.json"
    process = subprocess.Popen([*COMMAND, "--ready-file", str(ready), *options], env=ENVIRONMENT)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, "the ready file")
        yield json.loads(ready.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
