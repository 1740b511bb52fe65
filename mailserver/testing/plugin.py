"""The pytest plugin: its fixtures. Twisted is imported when a test asks for the first one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mailserver.testing.asynchronous import AsyncMailServer
    from mailserver.testing.server import MailServer
    from mailserver.testing.shared import SharedServer


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
def mailserver_session(request: pytest.FixtureRequest) -> "Iterator[MailServer]":
    """A mail server for all tests of the session. The rules of a test end with it."""
    from mailserver.testing.server import MailServer
    from mailserver.testing.shared import SharedServer

    server = MailServer().start()
    request.config.stash[SHARED] = SharedServer(server)
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
    finally:
        server.stop()
    _check(request.node, server.complaint())


def _check(item: pytest.Item, complaint: str) -> None:
    """Fail a test that has passed."""
    call = item.stash.get(CALL, None)
    if complaint and call is not None and call.passed:
        pytest.fail(complaint, pytrace=False)


SERVERS: "pytest.StashKey[list[MailServer]]" = pytest.StashKey()
SHARED: "pytest.StashKey[SharedServer]" = pytest.StashKey()
CALL: "pytest.StashKey[pytest.TestReport | None]" = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Any:
    """Keep the outcome of the test, and attach the dialogues of all sessions to a failure."""
    report = yield
    if report.when == "call":
        item.stash[CALL] = report
    if report.failed:
        servers: list[MailServer] = item.stash.get(SERVERS, [])
        told = [(f"mail server {number}", each.inbox.report()) for number, each in enumerate(servers, 1)]
        if (shared := item.config.stash.get(SHARED, None)) is not None and shared.is_used:
            told.append(("mail server of the session", shared.report()))
        said = str(call.excinfo.value) if call.excinfo is not None else ""
        report.sections += [(title, text) for title, text in told if text not in said]
    if report.when == "teardown":
        # pytest keeps all items to the end of the session, and may run one again.
        item.stash.setdefault(SERVERS, []).clear()
        item.stash[CALL] = None
    return report


# ------------------------------------------------------------ the server of the session


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: "pytest.FixtureDef[Any]", request: pytest.FixtureRequest) -> Any:
    """The rules of a fixture for several tests stay in force."""
    before = request.config.stash.get(SHARED, None)
    rules = before.rules if before is not None else ()
    result = yield
    shared = request.config.stash.get(SHARED, None)
    if shared is not None and fixturedef.scope != "function":
        shared.keep(rules)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What has happened before does not belong to this test."""
    if (shared := item.config.stash.get(SHARED, None)) is not None:
        shared.begin_test()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Any:
    """Remove the rules of the test. One that has passed fails if an expected rule never acted."""
    complaint = ""
    try:
        result = yield
    finally:
        if (shared := item.config.stash.get(SHARED, None)) is not None:
            complaint = shared.end_test()
    _check(item, complaint)
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the thread of the servers, if there was one."""
    import sys

    module = sys.modules.get("mailserver.testing.thread")
    if module is not None:
        module.stop_thread()
