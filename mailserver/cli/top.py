"""``mailserver top``: the live state of the running server, in a terminal."""

import json
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from mailserver.cli.console import configured
from mailserver.cli.requests import data_folder
from mailserver.cli.top_frame import State, cut, frame, rates
from mailserver.control.channel import CommandFailed
from mailserver.control.client import ask

INTERVAL = 1.0  # seconds
PLAIN_SIZE = (200, 60)  # columns and lines of --once
# ECMA-48: another screen and no cursor; the first place; the rest of the line; the rest of the screen.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, LINE_END, SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.option("--once", is_flag=True, help="Observe for a second, print one frame, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Like --once, but print a JSON object.")
@configured
def top(once: bool, as_json: bool, config: Path) -> int:
    """Show the live state of the running server.

    It has the sessions, messages a second, the queue, the storage, the busiest clients and accounts, and the
    last events, and is refreshed each second. q or Ctrl-C quits. If standard output is not a terminal, it is
    printed once.
    """
    data = data_folder(config)
    before = _asked(data)
    if before is None:
        raise click.ClickException(f"no server runs on {data}")
    if once or as_json or not sys.stdout.isatty():
        time.sleep(INTERVAL)
        now = _asked(data)
        if now is None:
            raise click.ClickException(f"the server on {data} has stopped")
        if as_json:
            click.echo(json.dumps({**now, "rates": rates(before, now)}))
        else:
            click.echo("\n".join(frame(before, now, *PLAIN_SIZE)))
        return 0
    with suppress(KeyboardInterrupt), _screen():
        _watch(data, before)
    return 0


def _asked(data: Path) -> Any:
    """The state of the server, None if no server runs. Raises
    :class:`~mailserver.control.channel.CommandFailed`."""
    outcome = ask(data, {"command": "top"})
    return None if outcome is None else json.loads(outcome.lines[0])


def _watch(data: Path, before: State) -> None:
    """Show one frame after the other. A server that stops may come back."""
    now: State | None = before
    problem = ""
    while True:
        size = shutil.get_terminal_size()
        if now is None:
            lines = [cut(f"{problem or f'no server runs on {data}'}; waiting (q: quit)", size.columns)]
        else:
            lines, before = frame(before, now, size.columns, size.lines), now
        sys.stdout.write(HOME + "\r\n".join(f"{line}{LINE_END}" for line in lines) + SCREEN_END)
        sys.stdout.flush()
        if _quits():
            return
        try:
            now, problem = _asked(data), ""
        except CommandFailed as error:
            now, problem = None, str(error)


def _quits() -> bool:
    """Wait for the next frame. Whether the user has pressed q, or the terminal is gone."""
    if not sys.stdin.isatty():
        time.sleep(INTERVAL)
        return False
    deadline = time.monotonic() + INTERVAL
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            pressed = os.read(sys.stdin.fileno(), 100)
            if not pressed or b"q" in pressed.lower():
                return True
    return False


@contextmanager
def _screen() -> Iterator[None]:
    """A screen of our own, and keys without Enter, until the end."""
    settings = None
    if sys.stdin.isatty():
        settings = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
    sys.stdout.write(ENTER)
    try:
        yield
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        if settings is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)
