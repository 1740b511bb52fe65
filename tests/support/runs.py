"""What the default run leaves to ``.ci/run``: most of many similar cases, and most examples of Hypothesis."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings


def rest_slow(cases: Iterable[Any], first: int = 1) -> list[Any]:
    """Parameters of a test: the first ones are in each run, the others with the slow tests."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow if number >= first else ()
        )
        for number, case in enumerate(cases)
    ]


def examples(factor: float) -> int:
    """So many times as many examples as the other tests of this run have."""
    return round(factor * settings().max_examples)
