"""Measures what a mail server costs in a test, beside other packages: ``python -m bench.fixture``.

It writes a small pytest project for each package, and runs them in turn. Half of the tests only take the
fixture of the package. The others also send one message with smtplib, and find it in the fixture. The figures
do not include the time of empty tests:

* first start: from the start of the process until its first test has ended, with the import of the package;
* ms per test: the mean of all tests but the first and the last;
* resident memory: that of pytest and of the server in it, at the last test.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import attrs

from .errors import BenchError
from .meter import Figures
from .table import rendered

PATIENCE = 300.0  # seconds for one run of pytest
FIRST, TEST, MESSAGE, MEMORY = UNITS = (
    "first start, ms",
    "ms per test",
    "ms per test with a message",
    "resident MiB",
)

CONFTEST = """\
import json
import os
import time
from pathlib import Path

import pytest

ends = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(nextitem):
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    try:
        return (yield)
    finally:
        ends.append(time.time())
        if nextitem is None:
            figures = {"ends": ends, "resident": pages * os.sysconf("SC_PAGE_SIZE")}
            Path("figures.json").write_text(json.dumps(figures))
"""
CONTROLLER = """
import socket

from aiosmtpd.controller import Controller


class Keeper:
    def __init__(self):
        self.messages = []

    async def handle_DATA(self, server, session, envelope):
        self.messages.append(envelope.content)
        return "250 OK"


@pytest.fixture
def controller():
    with socket.create_server(("127.0.0.1", 0)) as chosen:  # the controller does not start on port 0
        port = chosen.getsockname()[1]
    controller = Controller(Keeper(), hostname="127.0.0.1", port=port)
    controller.start()
    yield controller
    controller.stop()
"""
TESTS = """\
import smtplib

import pytest

TEXT = "Subject: hello\\r\\n\\r\\n" + "Hello, Bob.\\r\\n" * 20


@pytest.mark.parametrize("number", range({number}))
def test_a_server(number, {fixture}):
    pass


@pytest.mark.parametrize("number", range({number}))
def test_a_message(number, {fixture}):
    with smtplib.SMTP({address}, local_hostname="client.example") as client:
        client.sendmail("alice@example.org", ["bob@example.org"], TEXT)
    assert len({messages}) == 1
"""


@attrs.frozen
class Package:
    """A package with a fixture. The address and the messages are expressions of Python."""

    name: str
    plugin: str
    fixture: str
    address: str
    messages: str
    conftest: str = ""

    def obstacle(self) -> str | None:
        """Why it cannot be measured."""
        module = self.name.replace("-", "_")
        return None if importlib.util.find_spec(module) else f"it is not installed (pip install {self.name})"


NO_SERVER = Package("", "", "", "'', 0", "[]")  # empty tests
OURS = Package(
    "mailserver",
    "mailserver.testing.plugin",
    "mailserver",
    "mailserver.smtp.host, mailserver.smtp.port",
    "mailserver.messages",
)
OTHERS = (
    Package("smtpdfix", "smtpdfix", "smtpd", "smtpd.hostname, smtpd.port", "smtpd.messages"),
    Package(
        "pytest-localserver",
        "pytest_localserver.plugin",
        "smtpserver",
        "*smtpserver.addr",
        "smtpserver.outbox",
    ),
    Package(
        "aiosmtpd",
        "",
        "controller",
        "controller.hostname, controller.port",
        "controller.handler.messages",
        CONTROLLER,
    ),
)


@attrs.frozen
class Project:
    """The pytest project of a package, with so many tests of each kind."""

    package: Package
    folder: Path
    number: int

    def write(self) -> None:
        package = self.package
        tests = TESTS.format(
            number=self.number, fixture=package.fixture, address=package.address, messages=package.messages
        )
        self.folder.mkdir()
        (self.folder / "pytest.ini").write_text("[pytest]\n")
        (self.folder / "conftest.py").write_text(CONFTEST + package.conftest)
        (self.folder / "test_it.py").write_text(tests)

    def measure(self) -> Figures:
        """Raises BenchError if a test fails."""
        found = self._run("test_it.py::test_a_server")
        if self.package is not NO_SERVER:
            found[MESSAGE] = self._run("test_it.py::test_a_message")[TEST]
        return found

    def _run(self, tests: str) -> Figures:
        plugin = ["-p", self.package.plugin] if self.package.plugin else []
        began = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, tests],
            cwd=self.folder,
            # other plugins must not count
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != 0:
            raise BenchError(f"{self.package.name or 'pytest'}: {tests} failed:\n{done.stdout}{done.stderr}")
        figures = json.loads((self.folder / "figures.json").read_text())
        # the last test also stops what lasts for the session
        first, *_, last, _ = figures["ends"]
        return {
            FIRST: (first - began) * 1000,
            TEST: (last - first) * 1000 / (self.number - 2),
            MEMORY: figures["resident"] / 2**20,
        }


def measure(packages: Sequence[Package], number: int, repetitions: int) -> dict[str, Figures]:
    """The median of each figure, by the name of the package. Raises BenchError and OSError."""
    found: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        projects = [Project(one, Path(folder, one.name or "none"), number) for one in packages]
        for project in projects:
            project.write()
            # the interpreter compiles all modules, and the system reads them into memory
            project.measure()
        for repetition in range(repetitions):
            print(f"repetition {repetition + 1}", file=sys.stderr, flush=True)
            for project in projects:
                found.setdefault(project.package.name, []).append(project.measure())
    return {
        name: {unit: median(one[unit] for one in figures) for unit in figures[0]}
        for name, figures in found.items()
    }


def table(found: dict[str, Figures]) -> str:
    """The figures in Markdown, without the time of empty tests."""
    empty = found[NO_SERVER.name]
    less = {FIRST: empty[FIRST], TEST: empty[TEST], MESSAGE: empty[TEST], MEMORY: 0.0}
    lines = [f"| | {' | '.join(UNITS)} |", f"|---|{'---:|' * len(UNITS)}"]
    for name, figures in found.items():
        if name:
            cells = [rendered(figures[unit] - less[unit]) for unit in UNITS]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"| no server | | | | {rendered(empty[MEMORY])} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.fixture", description="Measure what a mail server costs in a test."
    )
    parser.add_argument("--tests", type=int, default=300, help="number of tests of each kind (default: 300)")
    parser.add_argument("--repetitions", type=int, default=5, help="number of repetitions (default: 5)")
    chosen = parser.parse_args()
    if chosen.tests < 3:
        parser.error("--tests must be at least 3")
    if chosen.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    packages = [NO_SERVER, OURS]
    for package in OTHERS:
        if obstacle := package.obstacle():
            print(f"{package.name} is left out: {obstacle}", file=sys.stderr)
        else:
            packages.append(package)
    try:
        print(table(measure(packages, chosen.tests, chosen.repetitions)))
    except (BenchError, OSError, subprocess.TimeoutExpired) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
