"""``mailserver fixture``: its start, its end, its options."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.e2e.server import wait_until
from tests.support.fixture_api import Api
from tests.support.fixture_process import COMMAND, ENVIRONMENT, running_fixture
from tests.support.runs import rest_slow


def test_ready_file_and_options(tmp_path: Path) -> None:
    options = "--seed 1 --profile gmail --accept relay --tls false --hostname mx.test --domain d.test"
    more = ["--set", "smtp.max_message_size=100000", "--set", "queue.retry=['1h']", "--allow-host", "mail"]
    with running_fixture(tmp_path, *options.split(), *more) as ready:
        assert set(ready) == {"pid", "http", "listeners"}
        assert [(each["protocol"], each["tls"]) for each in ready["listeners"]] == [
            ("smtp", "none"),
            ("submission", "none"),
            ("pop3", "none"),
        ]
        api = Api(f"{ready['http']}/api/v1")
        assert api("GET", "/server")["settings"] == {
            **{"accept": "relay", "seed": 1, "tls": False, "profile": "gmail"},
            **{"hostname": "mx.test", "domain": "d.test"},
            **{"smtp": {"max_message_size": 100000}, "queue": {"retry": ["1h"]}},
        }
        assert list(api.ports().values()) == [each["port"] for each in ready["listeners"]]
        assert api.ask("GET", "/server", headers={"Host": "mail"}).status == 200
        os.kill(ready["pid"], 0)
    assert [file.name for file in tmp_path.iterdir()] == ["ready.json"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_line_and_the_end(number: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[0] == "ready:"
        ports = dict(word.split("=") for word in words[2:])
        assert {name: int(port) for name, port in ports.items()} == Api(words[1]).ports()
        process.send_signal(number)
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    start = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"
    command = [sys.executable, "-c", start, *COMMAND, "--exit-with-parent", "--ready-file", str(ready)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE) as parent:
        wait_until(ready.exists, "the ready file")
        pid = json.loads(ready.read_text())["pid"]
        parent.kill()
    wait_until(lambda: not is_running(pid), "the end of the fixture")


def is_running(pid: int) -> bool:
    """Not so for a process that has ended and that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "options,status,said",
    rest_slow(
        [
            (["--acept", "any"], 2, "Did you mean one of: '--accept'"),
            (["--accept", "some"], 2, "accept: 'some'; allowed: any, accounts, relay."),
            (["--tls", "broken"], 2, "tls: 'broken'; allowed: True, False, expired"),
            (["--profile", "gmial"], 2, 'did you mean "gmail"?'),
            (["--port", "70000"], 2, "70000 is not in the range"),
            (
                ["--set", "smtp.max_message_size=many"],
                2,
                "max_message_size=many: the value is not TOML",
            ),
            (["--set", "smtp.max_mesage_size=1"], 2, 'did you mean "max_message_size"?'),
            (["--set", "hostname.x=1"], 2, "--set hostname.x=1: no section hostname"),
            (["--tls", "false", "--smtps-port", "0"], 2, "no listener 'smtps'"),
            (["--host", "192.0.2.1"], 1, "Cannot assign requested address"),
            (["--ready-file", "/nowhere/ready.json"], 1, "--ready-file /nowhere/ready.json: No such file"),
        ],
        first=4,
    ),
)
def test_wrong_usage_and_failures(options: list[str], status: int, said: str) -> None:
    done = subprocess.run([*COMMAND, *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (status, 1), done.stderr
    assert said in done.stderr
    assert done.stdout == ""
