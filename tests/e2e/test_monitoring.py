"""docs/monitoring.md with real programs: curl reads the pages; promtool checks metrics and rules."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from mailserver.config.loader import load
from mailserver.metrics.catalog import METRICS
from tests.support.docs.blocks import blocks
from tests.support.docs.commands import administer
from tests.support.docs.metrics import PAGE, TABLE, table
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.programs import need
from tests.support.e2e.server import ROOT, Makes, Server, configuration
from tests.support.tls_material import make_ca

ETC = ROOT / "etc"
RULES = ETC / "prometheus" / "mailserver.rules.yml"
RULE_TESTS = ETC / "prometheus" / "mailserver.rules.test.yml"
DASHBOARD = ETC / "grafana" / "mailserver.json"
PORT = "9725"
LISTEN = (
    ("smtp", "tcp:0:interface=127.0.0.1"),
    ("metrics", "tcp:0"),
    ("metrics", "tcp:0:interface=127.0.0.1", "implicit"),
)


def curl(*words: str) -> str:
    command = [need("curl"), "-q", "-sS", "--noproxy", "*", "--max-time", "30", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def port_of(server: Server, tls: str) -> int:
    (found,) = [
        one
        for one in server.listeners
        if one["protocol"] == "metrics" and one["tls"] == tls and "port" in one
    ]
    assert found["host"] == "127.0.0.1"
    return int(found["port"])


@pytest.mark.slow
def test_the_page_with_curl(make_server: Makes, tmp_path: Path) -> None:
    ca = make_ca(tmp_path)
    issued = ca.issue("localhost")
    tables = f'[tls]\ncertificate = "{issued.certificate}"\nprivate_key = "{issued.private_key}"\n'
    socket = tmp_path / "metrics.sock"
    listen = (*LISTEN, ("metrics", f"unix:{socket}"))
    server = make_server(configuration(listen=listen, tables=tables)).start()
    port = port_of(server, "none")
    for block in blocks(PAGE):
        if block.kind == "toml":
            (tmp_path / "example.toml").write_text(block.text)
            assert load(tmp_path / "example.toml").listen[-1].endpoint == f"tcp:{PORT}:interface=127.0.0.1"
        if block.kind != "sh":
            continue
        if "mailserver top" in block.text:
            shown = administer(block, server, tmp_path)
            assert "\nstate     ready\n" in shown and '"problem": ""' in shown
            continue
        assert block.text.count(f":{PORT}/") == block.text.count("curl ")
        text = block.text.replace(f":{PORT}/", f":{port}/")
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "mailserver_ready 1.0" in done.stdout or done.stdout == "ok\nready\n"
    secure = f"https://localhost:{port_of(server, 'implicit')}/readyz"
    assert curl("--cacert", str(ca.path), secure) == "ready\n"
    assert curl("--unix-socket", str(socket), "http://x/readyz") == "ready\n"
    with Smtp(server.smtp) as smtp:
        smtp.ask(b"HELO x")
        assert 'mailserver_sessions{protocol="smtp",tls="none"} 1.0' in curl(
            f"http://127.0.0.1:{port}/metrics"
        )
    # One connection for several requests.
    urls = [f"http://127.0.0.1:{port}/{page}" for page in ("healthz", "readyz", "metrics")]
    counts = curl("-w", "%{num_connects}\n", "-o", "/dev/null", urls[0], "-o", "/dev/null", urls[1])
    assert counts == "1\n0\n"
    server.stop()
    assert not socket.exists() and "GET /" not in server.log


def test_the_page_has_each_metric() -> None:
    (found,) = TABLE.findall(PAGE.read_text())
    assert found == table(), "run: python -m tests.support.docs.metrics"


def metrics_in(text: str) -> set[str]:
    """The names of metrics of this server, and of its process, in a rule or an expression."""
    words = set(re.findall(r"\b(?:mailserver|process)_[a-z_]+", text))
    return {re.sub("_(bucket|count|sum)$", "", word) if "_seconds_" in word else word for word in words}


@pytest.mark.parametrize("file", [DASHBOARD, RULES, RULE_TESTS], ids=lambda file: file.name)
def test_dashboard_and_rules_use_only_existing_metrics(file: Path) -> None:
    of_process = ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds")
    known = {metric.full_name for metric in METRICS} | {f"process_{name}" for name in of_process}
    used = metrics_in(file.read_text())
    assert len(used) >= 2 and used <= known


def test_the_dashboard_shows_all_metrics() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = " ".join(one["expr"] for panel in dashboard["panels"] for one in panel["targets"])
    shown = metrics_in(expressions)
    unseen = {metric.full_name for metric in METRICS} - shown
    assert unseen == {"mailserver_mailbox_messages", "mailserver_mailbox_bytes"}, "those are on request"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def promtool(*words: str, **options: str) -> str:
    done = subprocess.run([need("promtool"), *words], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


@pytest.mark.slow
def test_promtool_accepts_a_scrape(make_server: Makes) -> None:
    server = make_server(configuration(listen=LISTEN[:2])).start()
    with Smtp(server.smtp) as smtp:
        smtp.begin("sender@client.example", "alice@example.org")
        smtp.send(b"Subject: x\r\n\r\n")
        smtp.expect(b".", b"250 ")
        smtp.ask(b"MAIL FROM:<>")
        smtp.ask(b"RCPT TO:<nobody@example.org>")
        text = curl(f"http://127.0.0.1:{port_of(server, 'none')}/metrics?mailboxes=1")
    assert promtool("check", "metrics", input=text) == ""
    names = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    for file in (DASHBOARD, RULES):
        assert metrics_in(file.read_text()) <= names


@pytest.mark.slow
def test_promtool_accepts_the_rules_and_their_tests() -> None:
    assert "SUCCESS: 17 rules found" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("test", "rules", str(RULE_TESTS))


@pytest.mark.slow
def test_promtool_accepts_the_scrape_configuration(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(PAGE) if block.kind == "yaml"]
    (tmp_path / "prometheus.yml").write_text(block.text)
    (tmp_path / RULES.name).write_text(RULES.read_text())
    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yml"))
