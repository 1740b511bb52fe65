"""Fixtures: a server of one's own, and one per worker process that most tests share.

A test that shares takes a mailbox nobody else has, and leaves nothing behind that others could see.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.secured import EVERYTHING, Account, Secured
from tests.support.e2e.server import ACCOUNTS, WORKERS, Makes, Server, configuration

SHARED_ACCOUNTS = 300


@pytest.fixture(scope="session", autouse=True)
def _servers_heed_interrupts() -> None:
    """A shell lets what it runs in the background ignore SIGINT, and so would every server from here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that look at a single process where servers have several workers."""
    for item in items:
        if WORKERS > 1 and (marker := item.get_closest_marker("one_process")):
            item.add_marker(pytest.mark.skip(reason=f"one process: {marker.args[0]}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of every server that a failed test had."""
    report = yield
    if report.failed:
        for server in dict.fromkeys(_servers(getattr(item, "funcargs", {}).values())):
            report.sections.append((f"log of the server in {server.directory.name}", server.log[-20_000:]))
    return report


def _servers(values: Iterable[object]) -> Iterator[Server]:
    for value in values:
        if isinstance(value, Makes):
            yield from value.servers
        elif isinstance(value, Mailbox | Secured):
            yield value.server
        elif isinstance(value, Server):
            yield value


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Makes]:
    makes = Makes(tmp_path)
    yield makes
    for server in makes.servers:
        server.finish()


@pytest.fixture
def server(make_server: Makes) -> Server:
    """A running server with the accounts alice, bob and carol, for this test alone."""
    return make_server().start()


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder that ``nobody`` owns and can reach, for root; without root it is our own."""
    with tempfile.TemporaryDirectory(prefix="mailserver-test-") as name:
        if os.geteuid() == 0:
            shutil.chown(name, "nobody")
        yield Path(name)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server for all tests of this worker process."""
    names = [*ACCOUNTS, *(f"user{number}" for number in range(SHARED_ACCOUNTS))]
    server = Server(tmp_path_factory.mktemp("shared"), configuration(accounts=names))
    try:
        yield server.start()
    finally:
        server.finish()


@pytest.fixture(scope="session")
def fresh_name() -> Callable[[], str]:
    numbers = count()
    return lambda: f"user{next(numbers)}"


@pytest.fixture
def make_mailbox(shared: Server, fresh_name: Callable[[], str]) -> Iterator[Callable[[], Mailbox]]:
    """Makes empty mailboxes on the shared server."""
    yield lambda: Mailbox(shared, fresh_name())
    shared.check_log()


@pytest.fixture
def mailbox(make_mailbox: Callable[[], Mailbox]) -> Mailbox:
    """An empty mailbox on the shared server."""
    return make_mailbox()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A running server with TLS and all mechanisms, for all tests of this worker process."""
    secured = Secured(tmp_path_factory.mktemp("secured"), EVERYTHING)
    try:
        secured.server.start()
        yield secured
    finally:
        secured.server.finish()


@pytest.fixture
def account(secured: Secured) -> Iterator[Account]:
    """An account with an empty mailbox, there, whose password is kept as it is."""
    yield secured.account()
    secured.server.check_log()


@pytest.fixture
def hashed(secured: Secured) -> Iterator[Account]:
    """An account with an empty mailbox, there, whose password is kept as a hash."""
    yield secured.hashed()
    secured.server.check_log()
