"""docs/moving.md, command by command, with what each prints."""

from pathlib import Path

import pytest

from tests.support.docs.session import Stage, steps
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need
from tests.support.e2e.server import DOMAIN, ROOT, ROUTES, Makes, configuration
from tests.support.migration.boxes import write_maildir

PAGE = ROOT / "docs" / "moving.md"
DOMAINS = '["example.org", "example.com", "example.net"]'
FROM = b"From ann@example.org Tue Nov 14 22:13:20 2023\n"
OLD = {
    "example.org/alice": {
        "cur/1700000000.M1P1.host,S=23,W=26:2,S": b"Subject: one\n\nof Alice\n",
        "new/1700000001.M1P1.host": b"Subject: two\n\nof Alice\n",
    },
    "example.org/alice/.Sent": {"cur/1700000002.M1P1.host:2,S": b"Subject: sent\n\n"},
    "example.org/bob": {"new/1700000001.M1P1.host": b"Subject: one\n\nof Bob\n"},
    "example.org/bob/.Sent": {},
}
UIDLIST = "3 V1700000000 N3 G0123\n1 :1700000000.M1P1.host,S=23,W=26\n2 :1700000001.M1P1.host\n"


@pytest.fixture
def stage(make_server: Makes, tmp_path: Path) -> Stage:
    """What the page begins with."""
    need("doveadm")
    for name, files in OLD.items():
        write_maildir(tmp_path / "var/vmail" / name, files)
    for name in ("alice", "bob"):
        (tmp_path / f"var/vmail/example.org/{name}/dovecot-uidlist").write_text(UIDLIST)
    write_maildir(tmp_path / "home/carol/Maildir", {"cur/1700000000.M1P1.host:2,S": b"Subject: kept\n\n"})
    (tmp_path / "home/carol/Maildir/cur/notes").mkdir()
    for folder in ("etc/dovecot", "var/mail", "srv/export"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/dovecot/dovecot.conf").touch()
    heads = (b"Subject: a\nX-UIDL: qp0001\n", b"Subject: b\nStatus: RO\n")
    (tmp_path / "var/mail/carol").write_bytes(b"".join(FROM + head + b"\ntext\n\n" for head in heads))
    config = configuration().replace(f'domains = ["{DOMAIN}"]', f"domains = {DOMAINS}").replace(ROUTES, "")
    server = make_server(config).start()
    return Stage(server, tmp_path, "/home/carol", "/var/mail/carol", "/srv/export")


def test_the_page(stage: Stage) -> None:
    todo = list(steps(PAGE))
    assert len(todo) >= 9
    for step in todo:
        stage.run(step)
    server = stage.server
    assert Mailbox(server, "alice").uids() == [b"000000016553f100", b"000000026553f100"]
    assert len(Mailbox(server, "bob").messages()) == 1
    assert b"qp0001" in Mailbox(server, "carol").uids()
