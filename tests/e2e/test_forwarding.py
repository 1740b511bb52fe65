"""The keys of rewritten reverse-paths in a whole server: made, rotated, unreadable, never in the log."""

import stat
from pathlib import Path

import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import Makes, Server, configuration, wait_until
from tests.support.far_sides.beside import far_sides
from tests.support.far_sides.far_side import FarSide

TABLES = """
[relay]
networks = []
smarthost = "127.0.0.1:{port}"

[[alias]]
address = "away@example.org"
to = ["bob@far.example"]
"""


def forward(server: Server, far: FarSide) -> str:
    """Have a message of erin's forwarded: the reverse-path that it leaves with."""
    before = len(far.kept)
    with Smtp(server.smtp) as session:
        session.begin("erin@elsewhere.example", "away@example.org")
        session.send(b"Subject: x\r\n\r\n.\r\n")
        assert session.reply().startswith(b"250")
    return str(wait_until(lambda: far.kept[before:], "the message")[0].sender)


def takes_bounce(server: Server, path: str) -> bytes:
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<>", b"250")
        return session.ask(b"RCPT TO:<%s>" % path.encode())


def keys_in(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_rotation(make_server: Makes) -> None:
    with far_sides() as sides:
        far, port = sides.listen()
        server = make_server(configuration(tables=TABLES.format(port=port))).start()
        file = server.data / "srs.keys"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        [key] = keys_in(file)
        old = forward(server, far)
        assert takes_bounce(server, old).startswith(b"250")

        file.write_text(f"the-new-secret\n{key}\n")
        assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
        new = forward(server, far)
        assert new != old
        for path in (old, new):
            assert takes_bounce(server, path).startswith(b"250")

        server.restart()
        assert keys_in(file) == ["the-new-secret", key]
        assert forward(server, far) == new

        file.write_text("the-new-secret\n")
        assert mailserver(server, "reload")[0] == 0
        assert takes_bounce(server, new).startswith(b"250")
        assert takes_bounce(server, old).startswith(b"550 5.1.1 ")
        assert key not in server.log and "the-new-secret" not in server.log


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        ("a-secret", 0o604, "other users can read {file}; fix it with: chmod o-rwx {file}"),
        ("", 0o600, "{file} has no key; remove it, and the server makes a new one"),
    ],
)
def test_unusable_keys(make_server: Makes, content: str, mode: int, problem: str) -> None:
    """The reload is refused and the keys in force stay; a start fails, in one line."""
    with far_sides() as sides:
        far, port = sides.listen()
        server = make_server(configuration(tables=TABLES.format(port=port))).start()
        file = server.data / "srs.keys"
        path = forward(server, far)
        file.write_text(content)
        file.chmod(mode)
        why = problem.format(file=file)
        code, _, errors = mailserver(server, "reload")
        assert code != 0 and f"forward.srs: {why}" in "\n".join(errors)
        assert takes_bounce(server, path).startswith(b"250")
        server.stop()
        server.ready.unlink()
        errors, everything = server.refused()
        assert [line for line in errors if why in line] and "a-secret" not in "\n".join(everything)
        assert "a-secret" not in server.log
