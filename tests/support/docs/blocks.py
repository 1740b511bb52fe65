"""The command blocks of a page, by the heading that they stand under."""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

SET_UP = "## Set it up"
OWN_SERVER = "## A server of your own"
IN_A_CONTAINER = "## In a container"
IN_A_TEST = "## In a test of your program"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$|^(#+ [^\n]*)$", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Block:
    """``kind`` is the language of the block, ``heading`` the last one before it."""

    kind: str
    text: str
    heading: str


def blocks(page: Path, heading: str | None = None) -> list[Block]:
    """The blocks of a page, or those under one of its headings."""
    return [block for block in _all(page) if heading in (None, block.heading)]


def _all(page: Path) -> Iterator[Block]:
    heading = ""
    for match in _FENCE.finditer(page.read_text()):
        if match[3]:
            heading = match[3]
        else:
            yield Block(match[1], match[2], heading)
