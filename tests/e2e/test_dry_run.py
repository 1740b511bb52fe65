"""``mailserver reload --dry-run`` and ``config show --running``, with a server that was given an option."""

from pathlib import Path

import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import BOTH, ROUTES, Makes, Server, configuration, launch_forked


@pytest.fixture
def server(make_server: Makes, tmp_path: Path) -> Server:
    def launch(*options: str) -> list[str]:
        return launch_forked(*options, "--smtp-max-recipients", "300")

    server = make_server(configuration(tables=f"{ROUTES}\n[smtp]\nhop_limit = 30\n"), launch=launch)
    server.config.chmod(0o640)
    return server.start()


def shown(server: Server, *keys: str) -> list[str]:
    status, out, err = mailserver(server, "config", "show", "--running", *keys)
    assert (status, err) == (0, [])
    return out


def test_the_differences_and_what_needs_a_restart(server: Server) -> None:
    assert mailserver(server, "reload", "--dry-run") == (0, ["no changes"], [])
    hop_limit = server.config.read_text().splitlines().index("hop_limit = 30") + 1
    options = ["smtp.max_recipients = 300  # --smtp-max-recipients"]
    assert shown(server, "smtp.hop_limit", "smtp.max_recipients", "pop3.language") == [
        f"smtp.hop_limit = 30  # {server.config}:{hop_limit}",
        *options,
        'pop3.language = "en"  # default',
    ]

    tables = "[smtp]\nhop_limit = 40\nmax_recipients = 500\n"
    changed = configuration(listen=[("smtp", "tcp:0:interface=127.0.0.2"), BOTH[1]], tables=tables)
    server.configure(changed.replace("correct horse", "another horse", 1))
    status, out, err = mailserver(server, "reload", "--dry-run")
    assert (status, err) == (0, [])
    *routes, total = [line for line in out if not line.startswith(("alias", "list["))]
    endpoints = '"tcp:0:interface=127.0.0.1" → "tcp:0:interface=127.0.0.2"'
    assert routes == [
        f'listen["smtp"].endpoint: {endpoints} (needs a restart)',
        'account["alice@example.org"].password: "(hidden)" → "(hidden)"',
        "smtp.hop_limit: 30 → 40",
    ]
    assert total == "5 changes; a restart is needed for: listen"
    # nothing has happened
    assert "mailserver.Configuration" not in server.log
    assert shown(server, "smtp.hop_limit", "smtp.max_recipients") == [
        f"smtp.hop_limit = 30  # not as in {server.config} now",
        *options,
    ]

    assert mailserver(server, "reload")[0] == 0
    # what waits for a restart is still not in force
    listen = [f'listen["smtp"].endpoint: {endpoints} (needs a restart)']
    said = [*listen, "1 change; a restart is needed for: listen"]
    assert mailserver(server, "reload", "--dry-run") == (0, said, [])
    assert shown(server, "smtp.hop_limit")[0].startswith("smtp.hop_limit = 40  # ")
    assert "127.0.0.1" in shown(server, "listen")[0]


def test_a_wrong_configuration(server: Server) -> None:
    server.configure(configuration(tables="[smtp]\nhop_limits = 40\nmax_recipientz = 5\n"))
    status, out, [line] = mailserver(server, "reload", "--dry-run")
    assert (status, out) == (1, [])
    assert line.startswith("mailserver: configuration has errors: ")
    assert "smtp.hop_limits" in line and "smtp.max_recipientz" in line
    assert "mailserver.Configuration" not in server.log
    with Smtp(server.smtp) as session:
        session.expect(b"QUIT", b"221")
