"""What ``mailserver verify`` finds: a value that every engine can give, and the check that gives it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs


@attrs.frozen
class Finding:
    """Something wrong in the data.

    ``path`` is that of the file or folder, ``wrong`` what is wrong with it ("is missing"), ``repair``
    what a repair would do, after the word "would" ("be made").
    """

    path: Path
    wrong: str
    repair: str


@attrs.frozen
class DataCheck:
    """One part of the data, and how it is looked at.

    ``kinds`` name what is counted, each in the singular. ``run`` changes nothing, may block, and
    gives for each thing that it has looked at its kind, and whatever is wrong. Raises ``OSError``.
    """

    kinds: tuple[str, ...]
    run: Callable[[], Iterator[str | Finding]]
