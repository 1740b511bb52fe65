"""Shows the progress of a long command: a bar on a terminal, otherwise a line from time to time."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

WIDTH = 30  # characters of the bar
EVERY = 10.0  # seconds between two lines
REDRAWN = 0.1  # seconds


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many are done, and of how many: "[#####.....] 120 of 240 messages", on standard error."""
    drawn = False
    on_terminal = sys.stderr.isatty()
    following = time.monotonic() + (0.0 if on_terminal else EVERY)

    def show(done: int, total: int) -> None:
        nonlocal drawn, following
        now = time.monotonic()
        if not total or now < following:
            return
        following = now + (REDRAWN if on_terminal else EVERY)
        if on_terminal:
            drawn = True
            bar = "#" * (WIDTH * min(done, total) // total)
            click.echo(f"\r[{bar:.<{WIDTH}}] {done} of {total} {what}", nl=False, err=True)
        else:
            click.echo(f"{done} of {total} {what}", err=True)

    try:
        yield show
    finally:
        if drawn:
            click.echo(err=True)
