"""Fixtures: a server of PostgreSQL for each worker process, and an empty database for each test."""

import pytest

from tests.support.postgresql import PostgreSQL, shared


@pytest.fixture(scope="session")
def postgresql() -> PostgreSQL:
    """A running server for all tests of this worker process."""
    return shared()


@pytest.fixture
def database_url(postgresql: PostgreSQL) -> str:
    """The URL of an empty database."""
    return postgresql.url(postgresql.new_space())
