"""A server with HTTP in this process, for each test."""

from collections.abc import Iterator

import pytest

from mailserver.testing.http.program import FixtureProgram
from mailserver.testing.server import MailServer
from tests.support.fixture_api import Api


@pytest.fixture
def program() -> Iterator[FixtureProgram]:
    program = FixtureProgram(MailServer(seed=1))
    program.start()
    yield program
    program.stop()


@pytest.fixture
def api(program: FixtureProgram) -> Api:
    return Api(program.api)
