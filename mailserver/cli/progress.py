"""Shows the progress of a long command on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

WIDTH = 30  # characters of the bar


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many are done, and of how many: "[#####.....] 120 of 240 messages".

    Shows nothing if standard error is no terminal.
    """
    drawn = False

    def show(done: int, total: int) -> None:
        nonlocal drawn
        if total and sys.stderr.isatty():
            drawn = True
            bar = "#" * (WIDTH * done // total)
            click.echo(f"\r[{bar:.<{WIDTH}}] {done} of {total} {what}", nl=False, err=True)

    try:
        yield show
    finally:
        if drawn:
            click.echo(err=True)
