"""The examples of docs/embedding.md: the server in an application, and in a test, of somebody else."""

import importlib
import poplib
import re
import shlex
import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.docs.blocks import blocks
from tests.support.e2e.server import ROOT, wait_until
from tests.support.runs import rest_slow

PAGE = ROOT / "docs" / "embedding.md"


def example(heading: str, folder: Path) -> dict[str, str]:
    """Write the files of an example; the blocks by their kind."""
    found = {block.kind: block.text for block in blocks(PAGE, f"## {heading}")}
    for kind, name in (("toml", "mail.toml"), ("python", found["sh"].split()[-1])):
        if kind in found:
            text = found[kind].replace("tcp:2525", "tcp:0").replace("tcp:1110", "tcp:0")
            (folder / name).with_suffix(Path(name).suffix or ".py").write_text(text)
    return found


def command(line: str) -> list[str]:
    program, *words = shlex.split(line)
    return [str(Path(sys.executable).with_name(program)), *words]


def test_the_public_names_exist() -> None:
    named = re.findall(r"`(\w+)` in\s+`(mailserver[\w.]*)`", PAGE.read_text())
    assert len(named) >= 2
    for name, module in named:
        assert hasattr(importlib.import_module(module), name)


def test_a_tac(tmp_path: Path) -> None:
    found = example("In a .tac file", tmp_path)
    assert len(found["python"].splitlines()) <= 32
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command(found["sh"]), cwd=tmp_path, stdout=output, stderr=output)
    try:
        wait_until(lambda: "ready: " in log.read_text() or process.poll() is not None, "the server", 60)
        [line] = [line for line in log.read_text().splitlines() if "ready: " in line]
        smtp, pop3 = re.findall(r"on (\S+) port ([0-9]+)", line)
        with smtplib.SMTP(smtp[0], int(smtp[1])) as sender:
            sender.sendmail("bob@example.com", ["alice@example.org"], "Subject: hello\r\n\r\n")
        with pytest.raises(poplib.error_proto):
            log_in(pop3, "ticket of yesterday")
        reader = log_in(pop3, "ticket of today")
        assert reader.stat()[0] == 1
        reader.quit()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()


def log_in(listener: tuple[str, str], password: str) -> poplib.POP3:
    client = poplib.POP3(listener[0], int(listener[1]))
    client.user("alice")
    client.pass_(password)
    return client


@pytest.mark.parametrize(
    "heading",
    rest_slow(
        [
            "In a test, or beside other services",
            "A check of your own",
            "A delivery of your own",
            "The sessions as a library",
            "The events of the log",
        ],
    ),
)
def test_services_under_trial(heading: str, tmp_path: Path) -> None:
    found = example(heading, tmp_path)
    done = subprocess.run(command(found["sh"]), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED (successes=1)" in done.stdout
