"""The mail servers of others, for one test."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.support.real_servers.process import RealServer

Kind = TypeVar("Kind", bound=RealServer)


@pytest.fixture
def make_real() -> Iterator[Callable[..., Any]]:
    """Makes servers, given their class and its arguments, and ends them."""
    made: list[RealServer] = []

    def make(kind: type[Kind], **options: Any) -> Kind:
        server = kind(**options)
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()
