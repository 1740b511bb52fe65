"""The ``mailserver`` command for a server's configuration: as a process, and in this one, which is faster."""

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

import pytest

from mailserver.cli.main import main
from tests.support.e2e.server import ROOT, Server

COMMAND = [sys.executable, "-c", "from mailserver.cli.main import main; main()"]
Ended = tuple[int, list[str], list[str]]
"""Exit status, and the lines on standard output and on standard error."""


def environment() -> dict[str, str]:
    """Ours, without what would configure the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAILSERVER__")}


def begin(server: Server, *words: str) -> subprocess.Popen[str]:
    """Start a process. For what is told of processes, for several at once, and as another user."""
    command = [*COMMAND, *words, "--config", str(server.config)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def end(process: subprocess.Popen[str], given: str = "") -> Ended:
    """Its outcome, after this on its standard input."""
    out, err = process.communicate(given, timeout=120)
    return process.returncode, out.splitlines(), err.splitlines()


def in_process(*words: str, given: bytes = b"") -> Ended:
    """Run ``mailserver`` in this process, with this on its standard input: starting another one takes longer
    than all the rest.
    """
    out, err, typed = io.StringIO(), io.StringIO(), io.TextIOWrapper(io.BytesIO(given))
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch("sys.argv", ["mailserver", *words]),
        patch("sys.stdin", typed),
        patch.dict("os.environ", environment(), clear=True),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return int(ended.value.code or 0), out.getvalue().splitlines(), err.getvalue().splitlines()


def mailserver(server: Server, *words: str, given: str = "") -> Ended:
    """What :func:`begin` and :func:`end` do, in this process."""
    return in_process(*words, "--config", str(server.config), given=given.encode())


def settled(ended: Ended) -> Ended:
    """Without the number of queued messages: what was delivered a moment ago may be in the spool or not."""
    status, out, err = ended
    return status, re.sub(r", \d+ queued messages?\b", "", "\n".join(out)).splitlines(), err


def done(server: Server, words: str, given: str = "") -> str:
    """Run ``mailserver``, which must succeed; the one line that it prints."""
    status, out, err = mailserver(server, *words.split(), given=given)
    assert (status, len(out), err) == (0, 1, []), (out, err)
    return out[0]
