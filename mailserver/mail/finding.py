"""The findings of ``mailserver verify``, and the checks of the engines that report them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs


@attrs.frozen
class Finding:
    """A problem in the data.

    ``path`` is the file or folder. ``wrong`` describes the problem ("is missing"). ``repair`` describes a
    possible repair, to follow the word "would" ("be created").
    """

    path: Path
    wrong: str
    repair: str


@attrs.frozen
class DataCheck:
    """The check of one part of the data.

    ``kinds`` has the names of the things that are counted, in the singular. ``run`` yields the kind of each
    thing that it has checked, and the findings. It changes nothing, may block, and raises ``OSError``.
    """

    kinds: tuple[str, ...]
    run: Callable[[], Iterator[str | Finding]]
