"""An import that is killed: the next one goes on, and each message is there once."""

import signal
from pathlib import Path

import pytest

from tests.support.e2e.commands import begin, mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, wait_until
from tests.support.migration.boxes import contents, write_maildir

NUMBER = 1500  # messages
FIRST = 1_700_000_000


@pytest.mark.slow
def test_kill(make_server: Makes, tmp_path: Path) -> None:
    names = [f"{FIRST + number}.M1P1.old" for number in range(NUMBER)]
    texts = {name: b"Subject: %s\n\n" % name.encode() + b"x" * 4000 for name in names}
    old = write_maildir(tmp_path / "old", {f"cur/{name}:2,": text for name, text in texts.items()})
    lines = [f"{number} :{name}\n" for number, name in enumerate(names, 1)]
    (old / "dovecot-uidlist").write_text("".join(["3 V1 N9999\n", *lines]))
    server = make_server().start()
    box = server.data / "mail/example.org/alice"
    words = ("import", "dovecot", str(old), "--to", "alice")
    for least in (1, 500):
        process = begin(server, *words)

        def has_begun(least: int = least) -> bool:
            return len(list(box.glob("cur/*"))) >= least

        wait_until(has_begun, "the first messages")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for path, text in contents(box).items():
            folder, _, name = path.partition("/")
            assert folder == "tmp" or text == texts[name.partition(",")[0]], path
    status, [line], _ = mailserver(server, *words)
    assert status == 0
    assert line.endswith("verified")
    assert Mailbox(server, "alice").uids() == [b"%08x00000001" % number for number in range(1, NUMBER + 1)]
    assert list((box / "tmp").iterdir()) == []
