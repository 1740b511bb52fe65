"""The server as a service in a process that is not its own, and the two steps of a reload."""

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import DeferredLock

from mailserver.accounts.entries import StoredNames
from mailserver.app.build import make_service
from mailserver.app.reload import Reload
from mailserver.app.tasks import Tasks
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.control.channel import CommandFailed
from mailserver.errors import CannotStart, ConfigurationError
from mailserver.threads.pool import Threads
from tests.support.e2e.server import UNCHECKED, configuration
from tests.support.fakes import stand_in
from tests.support.model_clients import Reactor, Reader, Sender
from tests.support.reactor import FakeReactor


def state_of_the_process() -> list[object]:
    mask = os.umask(0o022)
    os.umask(mask)
    limit, handler = resource.getrlimit(resource.RLIMIT_NOFILE), signal.getsignal(signal.SIGHUP)
    return [mask, limit, handler, sys.excepthook]


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mailserver.toml"
    path.write_text(configuration(tables=UNCHECKED))
    return path


def test_a_service_leaves_its_process_alone(reactor: Reactor, path: Path) -> None:
    before, frozen = state_of_the_process(), gc.get_freeze_count()
    service = make_service(stand_in(reactor), path)
    assert not (path.parent / "data").exists(), "only the start writes, also the keys of SRS"
    service.startService()
    assert [listener["protocol"] for listener in service.where()] == ["smtp", "pop3"]
    sender = Sender(reactor)
    sender.begin(b"Subject: 1\r\n\r\n")
    assert sender.ask(b".").startswith(b"250 ")
    reader = Reader(reactor)
    assert reader.log_in().startswith(b"+OK")
    assert reader.ask(b"STAT").startswith(b"+OK 1 ")
    assert state_of_the_process() == before
    # Frozen objects may end meanwhile.
    assert gc.get_freeze_count() <= frozen
    for client in (sender, reader):
        client.lose()
    reactor.wait(service.stopService())
    assert state_of_the_process() == before
    modes = {oct(each.stat().st_mode & 0o077) for each in (path.parent / "data").rglob("*")}
    assert modes == {"0o0"}


def test_one_data_directory_has_one_service(reactor: Reactor, path: Path) -> None:
    first, second = make_service(stand_in(reactor), path), make_service(stand_in(reactor), path)
    first.startService()
    with pytest.raises(CannotStart, match=r"data/lock is locked by another process \(pid "):
        second.startService()
    reactor.wait(second.stopService())
    Sender(reactor).lose()
    reactor.wait(first.stopService())
    third = make_service(stand_in(reactor), path)
    third.startService()
    reactor.wait(third.stopService())


class Part:
    """A part of a server that records what a reload does with it."""

    def __init__(self, name: str, calls: list[str], fails: bool = False) -> None:
        self._name = name
        self._calls = calls
        self._fails = fails

    async def prepare(self, config: Config) -> Callable[[], None]:
        self._calls.append(f"prepare {self._name}")
        if self._fails:
            raise ConfigurationError([f"{self._name} is wrong"])
        return lambda: self._calls.append(f"commit {self._name}")


@pytest.mark.parametrize("fails", [False, True])
def test_all_parts_prepare_before_one_commits(path: Path, fails: bool) -> None:
    calls: list[str] = []
    reactor = FakeReactor()
    reload = Reload(
        path=path,
        started=load(path),
        read=lambda: load(path),
        names=StoredNames,
        components=(Part("a", calls), Part("b", calls, fails), Part("c", calls)),
        reactor=reactor,  # type: ignore[arg-type]
        threads=Threads(reactor),  # type: ignore[arg-type]
        tasks=Tasks(),
        changing=DeferredLock(),
    )
    outcomes: list[object] = []
    reload.run().addErrback(lambda failure: failure.value).addCallback(outcomes.append)
    if fails:
        assert calls == ["prepare a", "prepare b"]
        assert isinstance(outcomes[0], CommandFailed)
    else:
        assert calls == [f"{step} {name}" for step in ("prepare", "commit") for name in "abc"]
