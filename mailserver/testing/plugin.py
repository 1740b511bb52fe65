"""The pytest plugin: its fixtures. Twisted is imported when a test asks for the first one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mailserver.testing.asynchronous import AsyncMailServer
    from mailserver.testing.server import MailServer


@pytest.fixture
def mailserver(request: pytest.FixtureRequest) -> "Iterator[MailServer]":
    """A mail server of its own for this test."""
    from mailserver.testing.server import MailServer

    with _serving(request, MailServer()) as server:
        yield server


@pytest.fixture
def async_mailserver(request: pytest.FixtureRequest) -> "Iterator[AsyncMailServer]":
    """A mail server of its own for this test, with coroutines in place of what waits."""
    from mailserver.testing.asynchronous import AsyncMailServer

    server = AsyncMailServer()
    with _serving(request, server.server):
        yield server


@pytest.fixture(scope="session")
def mailserver_session() -> "Iterator[MailServer]":
    """A mail server for all tests of the session."""
    from mailserver.testing.server import MailServer

    server = MailServer().start()
    yield server
    server.stop()


@pytest.fixture
def make_mailserver(request: pytest.FixtureRequest) -> "Iterator[Callable[..., MailServer]]":
    """Makes mail servers for this test, with settings: ``make_mailserver(accept="relay")``."""
    from mailserver.testing.server import MailServer

    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(_serving(request, MailServer(**settings)))


@pytest.fixture
def make_async_mailserver(request: pytest.FixtureRequest) -> "Iterator[Callable[..., AsyncMailServer]]":
    """As ``make_mailserver``, with coroutines in place of what waits."""
    from mailserver.testing.asynchronous import AsyncMailServer

    with ExitStack() as stack:

        def make(**settings: Any) -> "AsyncMailServer":
            server = AsyncMailServer(**settings)
            stack.enter_context(_serving(request, server.server))
            return server

        yield make


@contextmanager
def _serving(request: pytest.FixtureRequest, server: "MailServer") -> "Iterator[MailServer]":
    """Run the server. A test that has passed fails if an expected rule never acted."""
    servers = request.node.stash.setdefault(SERVERS, [])
    servers.append(server.start())
    try:
        yield server
        rules = server.never_fired()
        call = request.node.stash.get(CALL, None)
        if rules and call is not None and call.passed:
            pytest.fail("\n".join(["rules that never acted:", *map(str, rules)]), pytrace=False)
    finally:
        server.stop()


SERVERS: "pytest.StashKey[list[MailServer]]" = pytest.StashKey()
CALL: "pytest.StashKey[pytest.TestReport]" = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Any:
    """Keep the outcome of the test, and attach the dialogues of all sessions to a failure."""
    report = yield
    if report.when == "call":
        item.stash[CALL] = report
    if report.failed:
        servers: list[MailServer] = item.stash.get(SERVERS, [])
        said = str(call.excinfo.value) if call.excinfo is not None else ""
        for number, server in enumerate(servers, 1):
            if (happened := server.inbox.report()) not in said:
                report.sections.append((f"mail server {number}", happened))
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the thread of the servers, if there was one."""
    import sys

    module = sys.modules.get("mailserver.testing.thread")
    if module is not None:
        module.stop_thread()
