"""A server with several workers speaks as a whole: metrics, top, status, verify, queue, backup."""

import json
import os
import re
import signal
import smtplib
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailserver.app.data import worker_queue_files
from mailserver.config.loader import load
from tests.support.docs.blocks import blocks
from tests.support.docs.commands import administer
from tests.support.e2e.commands import begin, end, in_process, mailserver
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import BOTH, ROOT, UNCHECKED, Makes, Server, configuration, wait_until
from tests.support.e2e.workers import workers

PAGE = ROOT / "docs" / "workers.md"
COUNT = 3
SENT = 30  # messages; that one worker gets all of them does not happen
TOP = f"allow_root = true\nworkers = {COUNT}"
LISTEN = [*BOTH, ("metrics", "tcp:0:interface=127.0.0.1")]


@pytest.fixture
def server(make_server: Makes) -> Server:
    return make_server(configuration(top=TOP, listen=LISTEN, tables=UNCHECKED)).start()


def send(server: Server, first: int, count: int) -> None:
    """Send messages, each by a connection of its own, so that each worker gets some."""
    for number in range(first, first + count):
        with smtplib.SMTP(*server.smtp, timeout=30) as client:
            client.sendmail(SENDER, ["alice@example.org"], f"Subject: {number}\r\n\r\ntext\r\n")


def scrape(server: Server) -> dict[tuple[str, ...], float]:
    host, port = server.address("metrics")
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (one.name.removeprefix("mailserver_"), *one.labels.values()): one.value
            for family in families
            for one in family.samples
        }


def state(server: Server) -> Any:
    status, out, _ = mailserver(server, "top", "--json")
    assert status == 0
    return json.loads(out[0])


def test_the_whole_server(server: Server) -> None:
    send(server, 0, SENT)
    found = scrape(server)
    assert found["messages_received_total",] == found["mailbox_deliveries_total",] == SENT
    assert found["sessions_total", "smtp", "none"] == SENT
    assert found["workers",] == COUNT
    assert {labels[0] for name, *labels in found if name == "worker_cpu_seconds_total"} == {"1", "2", "3"}
    shown = state(server)
    assert {one["number"]: one["pid"] for one in shown["workers"]} == workers(server)
    assert shown["delivered"] == SENT
    assert list(worker_queue_files(server.data)) == [2, 3]
    status, out, _ = mailserver(server, "verify")
    assert (status, out[-1].endswith("all well")) == (0, True), out
    _, out, _ = mailserver(server, "doctor", "--offline", "--json")
    kinds = {one["kind"] for one in json.loads("".join(out))["findings"]}
    assert kinds.isdisjoint(["worker-down", "database-damaged", "server-down"])


@pytest.mark.slow
def test_the_page(server: Server, tmp_path: Path) -> None:
    send(server, 0, SENT)
    printed = ""
    for block in blocks(PAGE):
        if block.kind == "toml":
            (tmp_path / "example.toml").write_text(block.text)
            assert load(tmp_path / "example.toml").workers == 4
        elif block.kind == "sh":
            printed += administer(block, server, tmp_path)
    assert re.search(r"^workers   1: \d+% CPU, .* sessions?; 3: .* sessions?$", printed, re.MULTILINE)
    assert printed.endswith(f"configuration reloaded\n{list(workers(server).values())}\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 3])
def test_a_killed_worker_takes_nothing_from_the_sums(server: Server, number: int) -> None:
    send(server, 0, SENT)
    assert scrape(server)["messages_received_total",] == SENT
    os.kill(workers(server)[number], signal.SIGKILL)
    wait_until(lambda: server.log.count(f"worker {number} is ready (pid") == 2, "the new process")
    send(server, SENT, 5)
    found = scrape(server)
    assert (found["messages_received_total",], found["workers",]) == (SENT + 5, COUNT)


@pytest.mark.slow
def test_a_worker_that_hangs_keeps_its_last_figures(server: Server) -> None:
    send(server, 0, SENT)
    before = scrape(server)
    pid = workers(server)[3]
    os.kill(pid, signal.SIGSTOP)
    try:
        found = scrape(server)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (found["workers",], found["messages_received_total",]) == (COUNT - 1, SENT)
    assert scrape(server)["workers",] == before["workers",] == COUNT


@pytest.mark.slow
def test_a_backup_has_the_spools_of_all(server: Server, tmp_path: Path) -> None:
    data = tmp_path / "restored"
    send(server, 0, SENT)
    status, _, err = end(begin(server, "backup", str(tmp_path / "backups")))
    assert status == 0, err
    server.kill()
    status, _, err = in_process("restore", str(tmp_path / "backups"), "--to", str(data), "--yes")
    assert status == 0, err
    assert list(worker_queue_files(data)) == [2, 3]
    text = configuration(top="allow_root = true\nworkers = 1", tables=UNCHECKED)
    server.configure(text.replace('data = "data"', f'data = "{data}"'))
    server.start()
    assert len(Mailbox(server, "alice").messages()) == SENT
    assert worker_queue_files(data) == {}, "the first worker has absorbed them"
