"""The command line of ``twistd mailserver``: wrong usage is one line."""

import subprocess
import sys
from pathlib import Path

import pytest
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]

from mailserver.tap import Options

ROOT = Path(__file__).parent.parent
WRONG = {
    "--foo": "unknown option --foo",
    "--confg=x": "unknown option --confg; did you mean --config?",
    "--smtp-max-recipient-s 5": "unknown option --smtp-max-recipient-s; did you mean --smtp-max-recipients?",
    "-z": "unknown option -z",
    "-n": 'unknown option -n; an option of twistd is written before "mailserver"',
    "--uid nobody": 'unknown option --uid; an option of twistd is written before "mailserver"',
    "--config": "option --config requires argument",
    "--smtp=1": "option --smtp not a unique prefix",
    "start": 'unexpected argument "start"',
    "--config a b c": 'unexpected argument "b"',
    "--auth nosuch:x": "Auth plugin not recognized: nosuch",
    "--f\x1b[2J": "unknown option --f\\x1b[2J",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_usage_is_one_line(words: str) -> None:
    options = Options()
    options.parent = ServerOptions()
    with pytest.raises(SystemExit) as ended:
        options.parseOptions(words.split(" "))
    text = WRONG[words] + "." * (not WRONG[words].endswith("?"))
    assert ended.value.code == f"twistd mailserver: {text} See: twistd mailserver --help"


@pytest.mark.parametrize("words", ["--foo", "mailserver.toml"])
def test_that_is_all_that_is_printed(words: str) -> None:
    command = [sys.executable, "-m", "twisted", "mailserver", words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_right_usage() -> None:
    options = Options()
    options.parseOptions(["--config", "x", "--smtp-max-recipients=5"])
    assert (options["config"], options.overrides()) == ("x", {"smtp.max_recipients": "5"})
