"""Every command block of README.md and docs/ is run, in the order of the page, in an empty folder.

The demo server is started as the page says, on free ports and with data of its own; the page's ports are
replaced by these. Installing is left out: the tests run where that is done. The set-up for production is
for ``test_production``, a server of one's own for ``test_init``, the example of a test for
``test_fixture_page``.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mailserver.config.loader import load
from tests.support.docs.blocks import IN_A_TEST, OWN_SERVER, SET_UP, Block, blocks
from tests.support.docs.commands import administer
from tests.support.e2e.programs import need
from tests.support.e2e.server import ROOT, Makes, Server

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PORTS = {"2525": "smtp", "2587": "submission", "1110": "pop3"}
INSTALLS = "pip install"
# Their blocks are commands for a running server.
COMMANDS = tuple(ROOT / "docs" / name for name in ("administration.md", "configuration.md"))
# Each has a test of its own.
ELSEWHERE = tuple(
    ROOT / "docs" / f"{name}.md"
    for name in (
        "backup",
        "deliverability",
        "doctor",
        "embedding",
        "fixture",
        "fixture-http",
        "installation",
        "logging",
        "monitoring",
        "postgresql",
        "systemd",
        "workers",
        "web",
        "api",
    )
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_kind_that_is_run(page: Path) -> None:
    assert {block.kind for block in blocks(page)} <= {"sh", "python", "toml", "text", "yaml", "ini"}
    # an indented block would escape the tests
    assert not re.search(
        r"^(?: {4}|\t)\S*(?:twistd|curl|python|pip|mailserver) ", page.read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("page", [*PAGES, ROOT / "SECURITY.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_start_page_names_every_page() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "docs" / "README.md").read_text())
    assert sorted({"README.md", *links}) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in ELSEWHERE], ids=lambda page: page.name
)
def test_blocks_run(page: Path, make_server: Makes, tmp_path: Path) -> None:
    todo = blocks(page)
    server: Server | None = None
    for block in todo:
        if block.kind == "text":
            continue  # what a program prints
        if page in COMMANDS and block.kind == "sh":
            server = server or make_server().start()
            administer(block, server, tmp_path)
            continue
        if block.kind != "toml" and block.heading in (SET_UP, OWN_SERVER, IN_A_TEST):
            continue
        if block.kind == "toml":
            file = tmp_path / "example.toml"
            file.write_text(block.text)
            load(file)
        elif INSTALLS in block.text:
            last = block.text.strip().split("&& ")[-1]
            if "twistd" in last:
                server = demo(make_server, last)
            else:
                assert last == ".venv/bin/python -m pytest"
        else:
            assert server is not None, "the page sends mail before it starts the server"
            run(block, server, tmp_path)


def demo(make_server: Makes, command: str) -> Server:
    """The server as the page starts it, on free ports."""
    words = shlex.split(command)
    assert words[:4] == [".venv/bin/twistd", "-n", "--pidfile=", "mailserver"], command
    assert words[4:] == ["--config", "etc/demo.toml"], command
    config = (ROOT / words[-1]).read_text()
    for port in PORTS:
        assert f'"tcp:{port}:interface=127.0.0.1"' in config
        config = config.replace(f"tcp:{port}:", "tcp:0:")
    server = make_server(config.replace("../demo-data", "data"))
    server.config.chmod(0o644)  # as in a clone
    server.start()
    assert "#warn" not in server.log, server.log
    return server


def run(block: Block, server: Server, folder: Path) -> None:
    text = block.text
    for port, protocol in PORTS.items():
        text = re.sub(rf"\b{port}\b", str(server.address(protocol)[1]), text)
    text = text.replace("demo-data", str(server.directory / "data"))
    if block.kind == "python":
        command = [sys.executable, "-c", text]
    else:
        need("curl")
        command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, timeout=60)
    assert done.returncode == 0, f"{block.text}\n{done.stderr.decode()}"
    # each example of the README ends by showing the message it has sent
    assert b"Good morning" in done.stdout, done.stdout
