"""Fixtures: a server of PostgreSQL for each worker process, and an empty database for each test."""

import pytest

from tests.support.pgbouncer import DEFAULT, new_url
from tests.support.postgresql import PostgreSQL, shared


@pytest.fixture(scope="session")
def postgresql() -> PostgreSQL:
    """A running server for all tests of this worker process."""
    return shared()


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, through PgBouncer if the parameter or the environment says so."""
    return new_url(getattr(request, "param", DEFAULT))
