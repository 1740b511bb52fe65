"""Where twistd's options send the lines of the log."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.logger import ILogObserver
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]
from zope.interface.verify import verifyObject

from mailserver.errors import ConfigurationError
from mailserver.logs.lines import LINES, LineObserver, observer_for
from tests.support.fakes import stand_in
from tests.support.logs import event, text


@pytest.fixture(autouse=True)
def _usr1() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGUSR1, before)


def options(*words: str) -> ServerOptions:
    parsed = ServerOptions()
    parsed.parseOptions([*words])
    return parsed


def observer(*words: str, format: str = "text") -> ILogObserver | None:
    return observer_for(stand_in(reactor), options(*words), format)


def hand(observer: ILogObserver | None) -> LineObserver:
    assert isinstance(observer, LineObserver)
    verifyObject(ILogObserver, observer)
    return observer


@pytest.mark.parametrize(
    "words",
    [["--syslog"], ["-n", "--syslog"], ["-n", "--logger", "twisted.logger.eventAsJSON"], ["--logfile", "-"]],
    ids=" ".join,
)
def test_twistd_keeps_its_own_log(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert observer(*words) is None
    assert list(tmp_path.iterdir()) == []


def test_other_programs_keep_theirs() -> None:
    assert observer_for(stand_in(reactor), None, "text") is None
    assert observer_for(stand_in(reactor), {"logFile": sys.stdout, "logFormat": "json"}, "text") is None


@pytest.mark.parametrize(("words", "name"), [
    ([], "twistd.log"),
    (["--logfile", "mail.log"], "mail.log"),
    (["-n", "--logfile", "mail.log"], "mail.log"),
])  # fmt: skip
@pytest.mark.parametrize("format", LINES)
def test_to_a_file(
    words: list[str], name: str, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("what was there\n")
    observe = hand(observer(*words, format=format))
    monkeypatch.chdir("/")
    observe(event(text="one é"))
    observe(event(text=""))
    assert (tmp_path / name).read_text() == f"what was there\n{LINES[format](event(text='one é'))}"


@pytest.mark.parametrize("words", [["-n"], ["-n", "--logfile", "-"]], ids=" ".join)
def test_to_standard_output(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    print("first")
    observe = hand(observer(*words))
    observe(event(text="one é"))
    assert capfd.readouterr().out == f"first\n{text(event(text='one é'))}\n"


def test_a_pipe_that_takes_little_at_a_time(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    observe, write = hand(observer("-n")), os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:3]))
    observe(event(text="one"))
    assert capfd.readouterr().out == f"{text(event(text='one'))}\n"


def test_a_file_that_cannot_be_had(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "mail.log"
    with pytest.raises(ConfigurationError) as caught:
        observer("--logfile", str(path))
    assert caught.value.lines == [f"--logfile {path}: No such file or directory"]


def test_the_file_is_rotated_by_length_and_by_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Callable[[], None]] = []
    monkeypatch.setattr(reactor, "callFromThread", asked.append)
    observe = hand(observer("--logfile", str(tmp_path / "mail.log")))
    observe(event(text="a" * 1_000_000))
    observe(event(text="b"))
    signal.raise_signal(signal.SIGUSR1)
    for rotate in asked:
        rotate()
    observe(event(text="c"))
    lines = {path.name: path.read_text()[-2] for path in tmp_path.iterdir()}
    assert lines == {"mail.log.2": "a", "mail.log.1": "b", "mail.log": "c"}


def test_a_signal_that_means_something_else_is_left_alone(tmp_path: Path) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    hand(observer("--logfile", str(tmp_path / "mail.log")))
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN


def test_lines_of_several_threads_stay_whole(tmp_path: Path) -> None:
    observe = hand(observer("--logfile", str(tmp_path / "mail.log"), format="json"))

    def tell(who: int) -> None:
        for number in range(200):
            observe(event("x" * 300, who=who, number=number))

    threads = [threading.Thread(target=tell, args=[who]) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [json.loads(line) for line in (tmp_path / "mail.log").read_text().splitlines()]
    for who in range(4):
        assert [one["number"] for one in found if one["who"] == who] == [*range(200)]
