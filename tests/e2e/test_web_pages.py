"""docs/web.md and docs/api.md with real programs: curl and Python ask a spawned server."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.config.loader import load
from mailserver.web.routes import ROUTES
from tests.support.docs.blocks import blocks
from tests.support.docs.page import Page, spans
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.programs import need
from tests.support.e2e.server import ROOT, Makes, Server, configuration

WEB, API = (ROOT / "docs" / f"{name}.md" for name in ("web", "api"))
PORT = ":8025/"
ANY = "…"  # stands for any text
LISTEN = (
    ("smtp", "tcp:0:interface=127.0.0.1"),
    ("pop3", "tcp:0:interface=127.0.0.1"),
    ("web", "tcp:0"),
)
TABLES = '[web]\nadministrators = ["alice@example.org"]\n'
MESSAGE = b"From: bob@example.org\r\nTo: alice@example.org\r\nSubject: hello\r\nDate: x\r\n\r\ntext\r\n"


@pytest.fixture
def server(make_server: Makes) -> Iterator[Server]:
    passwords = {"alice": "secret", "bob": "secret"}
    yield make_server(configuration(listen=LISTEN, passwords=passwords, tables=TABLES)).start()


def web_port(server: Server) -> int:
    (found,) = (one for one in server.listeners if one["protocol"] == "web")
    assert found["host"] == "127.0.0.1"
    return int(found["port"])


def run_blocks(page: Path, server: Server, folder: Path) -> None:
    printed = ""
    for block in blocks(page):
        text = block.text.replace(PORT, f":{web_port(server)}/").replace(
            PORT[:-1] + '"', f':{web_port(server)}"'
        )
        if block.kind == "toml":
            (folder / "example.toml").write_text(text)
            assert load(folder / "example.toml").listen[-1].protocol == "web"
            continue
        if block.kind == "text":
            pattern = re.escape(block.text.strip()).replace(ANY, ".*?")
            assert re.fullmatch(pattern, printed.strip(), re.DOTALL), printed
            continue
        command = ["bash", "-euo", "pipefail", "-c"] if block.kind == "sh" else [sys.executable, "-c"]
        done = subprocess.run([*command, text], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        printed = done.stdout
        assert printed or ">" in text, text


@pytest.mark.slow
def test_the_pages(server: Server, tmp_path: Path) -> None:
    need("curl")
    with Smtp(server.smtp) as smtp:
        smtp.begin("bob@example.org", "alice@example.org")
        smtp.send(MESSAGE)
        smtp.expect(b".", b"250 ")
    run_blocks(WEB, server, tmp_path)
    run_blocks(API, server, tmp_path)
    server.stop()
    assert ":secret" not in server.log and "YWxpY2VA" not in server.log


def test_the_page_has_each_request() -> None:
    page = Page.read(API)
    told = [name for row in page.table("HTTP API", "request") for name in spans(row["request"])]
    assert told == [f"{route.method} {route.path}" for route in ROUTES]
