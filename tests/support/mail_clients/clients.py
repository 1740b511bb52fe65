"""Client programs and libraries: one run of one, and how it ended by its own word.

A client is a command that runs in a folder of its own, which it keeps from run to run, with the time-out that
it offers set to :data:`TIMEOUT`. What does not end by itself is killed.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.support.e2e.programs import surroundings

SCRIPTS = Path(__file__).with_name("scripts")
TIMEOUT = 3
"""Seconds: the time-out of each client."""
ONWARD = "kept@example.test"
LIMIT = 20
"""Seconds after which a client is killed."""


@attrs.frozen
class Place:
    """Where a client goes, and as whom. ``tls`` is "starttls", "implicit" or "" for none.

    ``onward``: the port of SMTP for a client that passes on what it fetches, to :data:`ONWARD`.
    """

    host: str
    port: int
    tls: str
    ca: Path
    address: str
    password: str
    login: bool = True
    onward: int = 0


@attrs.frozen
class Invocation:
    """A command, what it reads, its additions to the environment, and its exit statuses for success.

    ``last_word``: the last line that a script prints; one that ends without it was left waiting for ever.
    ``user``: who runs it, if the tests run as root.
    """

    command: list[str | Path]
    input: bytes = b""
    env: dict[str, str] = attrs.field(factory=dict)
    good: tuple[int, ...] = (0,)
    last_word: str = ""
    user: str | None = None


@attrs.frozen
class ClientOutcome:
    """How a run ended by the client's own word; ``reported`` is what it printed, on one line.

    ``hung``: it was killed, or ended without its last word. ``crashed``: by a signal or an exception that
    nobody had foreseen.
    """

    ok: bool
    reported: str
    hung: bool = False
    crashed: bool = False


@attrs.frozen
class MailClient:
    """``invoke`` gives the command for a home, a place and a file to send, or a folder for the messages.

    ``note`` says how it is used. ``starttls``: it can begin TLS on a connection without. ``retrieves_by``:
    the command that fetches a message. ``removes_in``: the number of the session in which it deletes.
    """

    name: str
    version: Callable[[], str]
    invoke: Callable[..., Invocation]
    note: str
    starttls: bool = True
    retrieves_by: str = "RETR"
    removes_in: int = 1


CRASH = re.compile(rb"Traceback \(most recent call last\)|node:internal|Uncaught| at \S+\.pl line \d+")


def run_client(home: Path, invocation: Invocation) -> ClientOutcome:
    """Run a client once. Nothing of it stays behind, whatever it started."""
    process = subprocess.Popen(
        invocation.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **surroundings(home, invocation.env, invocation.user),
    )
    killed = False
    try:
        output, _ = process.communicate(invocation.input, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        killed = True
        output, _ = process.communicate()
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    settled = not invocation.last_word or lines[-1:] == [invocation.last_word]
    if invocation.last_word and settled:
        lines.pop()
    crashed = process.returncode < 0 or CRASH.search(output) is not None
    return ClientOutcome(
        ok=process.returncode in invocation.good and settled and not killed,
        reported=" | ".join(lines[-5:]),
        hung=killed or (not settled and not crashed),
        crashed=crashed and not killed,
    )


def version_by(pattern: str, *command: str, env: dict[str, str] | None = None) -> str:
    """What the pattern's group finds in the output of a command."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}
    )
    found = re.search(pattern, done.stdout + done.stderr)
    assert found is not None, f"{command}: {done.stdout}{done.stderr}"
    return found[1]
