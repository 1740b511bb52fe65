"""The commands of docs/postgresql.md, on a database of the test instead of the system's."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.docs.blocks import blocks
from tests.support.e2e.commands import mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import ROOT, Makes, configuration
from tests.support.migration.boxes import write_maildir
from tests.support.postgresql import BINARIES, running

PAGE = ROOT / "docs" / "postgresql.md"
INSTALLS = ("sudo apt-get install", "pip install")


@pytest.mark.slow
def test_the_page(make_server: Makes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as database:
        monkeypatch.setenv("PGHOST", str(database.folder))
        monkeypatch.setenv("PGUSER", "mail")
        monkeypatch.setenv("PATH", f"{BINARIES[-1].parent}:{os.environ['PATH']}")
        database.execute("CREATE ROLE postgres SUPERUSER LOGIN")

        def run(text: str) -> None:
            for line in text.splitlines():
                if not line.startswith(INSTALLS):
                    command = line.replace("/var/backups", str(tmp_path)).removeprefix("sudo -u postgres ")
                    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60)
                    assert done.returncode == 0, f"{command}\n{done.stderr.decode()}"

        found = blocks(PAGE)
        set_up, load, unload, dump, restore = [block.text for block in found if block.kind == "sh"]
        (tables,) = [block.text for block in found if block.kind == "toml"]
        run(set_up)
        monkeypatch.setenv("PGUSER", "mailserver")
        server = make_server(configuration(tables=tables))
        files = tmp_path / "mailserver-files"
        write_maildir(server.data / "mail/example.org/alice", {"new/1.M1P1.host": MESSAGES["plain"]})
        server.data.chmod(0o700)
        for command, data in ((load, server.data), (unload, files)):
            words = command.replace("/var/lib/mailserver", str(data).removesuffix("-files")).split()
            assert mailserver(server, *words[1:])[0] == 0
        assert [each.name for each in (files / "mail/example.org").iterdir()] == ["alice"]
        server.start()
        alice = Mailbox(server, "alice")
        alice.fill(MESSAGES["plain"])
        monkeypatch.setenv("PGUSER", "mail")
        run(dump)
        alice.fill(MESSAGES["dots"])
        server.stop()
        run(restore)
        monkeypatch.setenv("PGUSER", "mailserver")
        server.start()
        imported, delivered = alice.messages()
        assert (imported, original(delivered)) == (MESSAGES["plain"], MESSAGES["plain"])
