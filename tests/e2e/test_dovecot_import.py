"""A move from a real Dovecot: clients that leave mail on the server fetch nothing twice."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.support.corpus.messages import message
from tests.support.e2e.clients import fetchmail, mpop
from tests.support.e2e.commands import mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes
from tests.support.real_servers.dovecot import DovecotServer
from tests.support.real_servers.process import OWNER

PASSWORD = "wonderland"
ALICE = "alice@example.org"
TEXTS = [message(f"number {number}", b"Text %d.\r\n" % number) for number in range(4)]
CLIENTS: dict[str, Any] = {"fetchmail": fetchmail, "mpop": mpop}


@attrs.frozen
class Elsewhere:
    """The account of alice on another server, for the same clients."""

    server: DovecotServer
    address: str = ALICE
    password: str = PASSWORD

    def port(self, protocol: str, tls: str = "") -> int:
        return self.server.port


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("", id="default"),
        pytest.param("pop3_save_uidl = yes\npop3_uidl_format = %g\n", id="saved", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_fetched_twice(
    make_real: Callable[..., Any], make_server: Makes, tmp_path: Path, more: str
) -> None:
    dovecot: DovecotServer = make_real(DovecotServer, users={ALICE: PASSWORD}, more=more)
    box = dovecot.box("alice")
    for folder in ("new", "cur", "tmp"):
        (box / folder).mkdir(parents=True)
    for number, text in enumerate(TEXTS):
        (box / "new" / f"170000000{number}.M1P1.old").write_bytes(text.replace(b"\r\n", b"\n"))
    shutil.chown(box, OWNER, OWNER)
    for path in box.rglob("*"):
        shutil.chown(path, OWNER, OWNER)
    dovecot.start(0)
    before: Any = Elsewhere(dovecot)
    homes = {name: tmp_path / name for name in CLIENTS}
    for name, client in CLIENTS.items():
        homes[name].mkdir()
        assert len(client(homes[name], before, "", "user").check(0).got) == len(TEXTS)

    server = make_server().start()
    given = () if not more else ("--uidl-format", "%g")
    alice = Mailbox(server, "alice")
    session = alice.login()
    done = mailserver(server, "import", "dovecot", str(box), "--to", "alice", *given)
    octets = sum(len(text.replace(b"\r\n", b"\n")) for text in TEXTS)
    assert done == (
        0, [f"imported 4 messages ({octets} octets), skipped 0, kept the unique-ids of 4, verified"], [],
    )  # fmt: skip
    session.expect(b"STAT", b"+OK 0 0")  # an open session keeps what it began with
    session.expect(b"QUIT", b"+OK")
    for name, client in CLIENTS.items():
        status = None if name == "fetchmail" else 0  # fetchmail ends with 1: no new mail
        assert len(client(homes[name], alice, "", "user").check(status).got) == len(TEXTS), name
    alice.fill(message("new", b"One more.\r\n"))
    for name, client in CLIENTS.items():
        found = client(homes[name], alice, "", "user").check(0).got
        assert len(found) == len(TEXTS) + 1, name
