"""The fixtures of the end-to-end tests: attacks on disk, memory and sockets need a real server."""

from tests.e2e.conftest import (
    fresh_name,
    mailbox,
    make_mailbox,
    make_server,
    pytest_runtest_makereport,
    server,
    shared,
)

__all__ = [
    "fresh_name",
    "mailbox",
    "make_mailbox",
    "make_server",
    "pytest_runtest_makereport",
    "server",
    "shared",
]
