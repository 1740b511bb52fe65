"""The frames of ``mailserver top``."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from click.testing import CliRunner

from mailserver.cli import top as command
from mailserver.cli.top_frame import cut, frame, rates
from mailserver.control.channel import CommandOutcome

BEFORE: dict[str, Any] = {
    "hostname": "mail.example.org",
    "version": "1.0",
    "pid": 12,
    "time": 1000.0,
    "uptime": 100.0,
    "problem": "",
    "workers": [{"number": 1, "answers": True, "pid": 12, "cpu": 1.0, "sessions": 3, "received": 7}],
    "sessions": [
        {"protocol": "smtp", "tls": "TLSv1.3", "open": 2, "total": 9},
        {"protocol": "smtp", "tls": "none", "open": 1, "total": 1},
        {"protocol": "pop3", "tls": "none", "open": 0, "total": 5},
    ],
    "delivered": 10,
    "unsynced": 3,
    "queue": {"due": 1, "waiting": 2, "held": 0, "oldest": 3700.0},
    "disk": {"free": 3 << 30, "size": 5 << 40},
    "storage": {
        "commit": {"count": 5, "seconds": 0.5, "longest": 0.2},
        "sync": {"count": 1, "seconds": 0.1, "longest": 0.1},
    },
    "watched": 90.0,
    "counts": {"messages_received": 7, "messages_received_bytes": 9000, "logins.succeeded": 1},
    "events": [
        {"time": 1000.0, "level": "info", "event": "MessageAccepted", "text": f"{number}: accepted"}
        for number in range(50)
    ],
    "clients": [{"name": f"192.0.2.{number}", "events": 9 - number} for number in range(8)],
    "accounts": [{"name": "alice@example.org", "events": 3}],
}
NOW: dict[str, Any] = copy.deepcopy(BEFORE) | {
    "time": 1002.0,
    "uptime": 90061.0,
    "delivered": 14,
    "counts": {
        "messages_received": 13,
        "messages_received_bytes": 99000,
        "messages_rejected.policy.dmarc": 2,
        "commands_rejected.routing": 5,
        "commands_rejected.dnsbl[1]": 1,
        "delivery_attempts.relayed": 8,
        "logins.succeeded": 1,
        "logins.rejected": 4,
    },
    "storage": {
        "commit": {"count": 15, "seconds": 0.7, "longest": 0.05},
        "sync": {"count": 1, "seconds": 0.1, "longest": 0.0},
    },
}


def test_a_frame() -> None:
    lines = frame(BEFORE, NOW, 200, 24)
    assert lines[0].startswith("mail.example.org: mailserver 1.0, pid 12, up 1 d 1 h, ")
    assert lines[1:9] == [
        "state     ready",
        "sessions  smtp 3 (2 TLSv1.3, 1 without TLS), pop3 0",
        "messages  3.0/s received, 1.0/s rejected, 0.0/s deferred; 3.0/s commands rejected",
        "delivery  2.0/s into mailboxes; from the queue 4.0/s relayed, 0.0/s deferred, 0.0/s failed",
        "logins    0.0/s succeeded, 2.0/s rejected",
        "queue     1 due, 2 waiting, 0 held, the oldest for 1 h 1 min",
        "storage   commit 20.0 ms, longest 50.0 ms; sync 0.0 ms, 3 copies not synced",
        "disk      3.0 GiB of 5.0 TiB free",
    ]
    assert lines[10] == f"{'clients (events in 1 min 30 s)':40}accounts"
    assert lines[11] == f"{'     9  192.0.2.0':40}     3  alice@example.org"
    assert lines[12] == "     8  192.0.2.1"
    assert len(lines) == 24
    assert lines[17].endswith("MessageAccepted 43: accepted") and lines[-1].endswith("49: accepted")


def test_a_frame_of_several_workers() -> None:
    before = [
        {"number": number, "answers": True, "pid": number, "cpu": 1.0, "sessions": number, "received": 7}
        for number in range(1, 4)
    ]
    now = [
        before[0] | {"cpu": 2.5, "received": 10},
        before[1] | {"pid": 99},
        {"number": 3, "answers": False},
    ]
    lines = frame(BEFORE | {"workers": before}, NOW | {"workers": now}, 200, 24)
    assert lines[2] == (
        "workers   1: 75% CPU, 1.5/s received, 1 session; 2: 0% CPU, 0.0/s received, 2 sessions; "
        "3 does not answer"
    )
    assert frame(BEFORE | {"workers": now}, NOW | {"workers": before}, 200, 24)[2].startswith("workers   1:")


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20, 5), (80, 24), (40, 12), (300, 100)])
def test_a_frame_fits(width: int, height: int) -> None:
    lines = frame(BEFORE, NOW, width, height)
    assert len(lines) <= height and all(len(line) <= width for line in lines)


def test_a_frame_of_troubles() -> None:
    now = NOW | {"problem": "the disk is full", "queue": None, "disk": None, "sessions": [], "clients": []}
    now |= {"accounts": [], "events": [NOW["events"][0] | {"level": "error"}]}
    lines = frame(BEFORE, now, 200, 24)
    assert lines[1:3] == ["state     the disk is full", "sessions  none"]
    assert (lines[6], lines[8]) == ("queue     unreadable", "disk      unreadable")
    assert lines[-1].endswith("MessageAccepted (error) 0: accepted")


def test_a_restarted_server_begins_at_zero() -> None:
    found = rates(BEFORE, NOW | {"pid": 13})
    assert (found["messages_received"], found["delivered"]) == (6.5, 0.0)
    observed_anew = NOW | {"counts": {"messages_received": 1}}
    assert rates(BEFORE, observed_anew)["messages_received"] == 0.0


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abc", 3, "abc"), ("abc", 2, "ab"), ("日本語", 5, "日本"), ("e\u0301e", 1, "e\u0301"), ("", 0, "")],
)
def test_a_line_is_cut_by_columns(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


@attrs.define
class Server:
    """Answers with one state after the other."""

    states: list[Any]

    def ask(self, data: Path, request: Any) -> CommandOutcome | None:
        assert request == {"command": "top"}
        state = self.states.pop(0)
        return None if state is None else CommandOutcome((json.dumps(state),))


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, states: Sequence[Any], *words: str) -> Any:
    monkeypatch.setattr(command, "ask", Server([*states]).ask)
    monkeypatch.setattr(command, "INTERVAL", 0.0)
    config = folder / "mailserver.toml"
    config.write_text(f'data = "{folder}"\n')
    return CliRunner().invoke(command.top, [*words, "--config", str(config)], standalone_mode=False)


@pytest.mark.parametrize("words", [["--once"], []], ids=["once", "no terminal"])
def test_one_frame(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]) -> None:
    done = run(monkeypatch, tmp_path, [BEFORE, NOW], *words)
    assert done.return_value == 0
    assert done.stdout.splitlines() == frame(BEFORE, NOW, 200, 60)
    assert "\x1b" not in done.stdout


def test_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = run(monkeypatch, tmp_path, [BEFORE, NOW], "--json")
    assert json.loads(done.stdout) == {**NOW, "rates": rates(BEFORE, NOW)}


@pytest.mark.parametrize(
    ("states", "text"), [([None], "no server runs on {}"), ([BEFORE, None], "the server on {} has stopped")]
)
def test_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, states: list[Any], text: str) -> None:
    done = run(monkeypatch, tmp_path, states, "--once")
    assert isinstance(done.exception, click.ClickException)
    assert done.exception.message == text.format(tmp_path)
