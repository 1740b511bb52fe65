"""An installation in a folder: as long as no test changes something, the doctor finds nothing in it.

site.configure('[smtp]\nverify = "always"')
assert kinds(site.run("configuration")) == ["names-disclosed"]
"""

import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import attrs
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred, execute

from mailserver import __version__
from mailserver.accounts.sqlite.engine import SQLiteAccounts
from mailserver.accounts.store import AccountStore
from mailserver.app.doctor.findings import DoctorFinding, Examination, Examined
from mailserver.app.doctor.installation import Installation, Machine, RunningServer
from mailserver.app.doctor.runner import BLOCKING, FAR, NEARBY, effective_accounts, examine
from mailserver.app.zone import ZoneCheck
from mailserver.config.loader import load
from mailserver.dns.resolver import Resolver
from mailserver.durable.disk import Disk
from mailserver.interfaces import QueuedMessage
from mailserver.mail.queued import QueuedRecipient, remote_destination
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.sqlite.engine import SQLiteSpool
from tests.support.dns_zone import DnsZone
from tests.support.doctor.listener import ScriptedListener
from tests.support.fakes import stand_in
from tests.support.real_reactor import RealReactor
from tests.support.tls_material import Authority, Issued, make_ca, write_key

HOSTNAME = "mail.example.org"
ADDRESS = "127.0.0.25"  # the public one, as it were
REVERSE = "25.0.0.127"
LIST = "bl.example"
POLICY = f"version: STSv1\nmode: enforce\nmx: {HOSTNAME}\nmax_age: 86400\n".encode()
HASH = PasswordHasher(time_cost=1, memory_cost=64).hash("secret")
NOBODY = 65534
PLENTY = 1 << 40
CONFIG = f"""
hostname = "{HOSTNAME}"
domains = ["example.org"]
account = [{{ address = "alice", password = "{HASH}" }}]
alias = [{{ address = "abuse", to = ["alice"] }}]
list = [{{ address = "club", members = ["alice"] }}]
dnsbl = [{{ zone = "{LIST}" }}]
dkim = [{{ domain = "example.org", selector = "s1", key = "s1.pem" }}]
[[listen]]
protocol = "smtp"
endpoint = "tcp:25"
[[listen]]
protocol = "submission"
endpoint = "tcp:465"
tls = "implicit"
[[listen]]
protocol = "pop3"
endpoint = "tcp:110"
[relay]
networks = ["10.0.0.0/8"]
[tls]
certificate = "fullchain.pem"
private_key = "privkey.pem"
"""


@attrs.frozen
class FileSystem:
    """The status of a file system with much room."""

    f_bavail: int = PLENTY // 4096
    f_frsize: int = 4096
    f_files: int = 1_000_000
    f_favail: int = 900_000
    f_flag: int = 0


class Template:
    """What all sites of a module share: an authority, a certificate, listeners, and databases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority: Authority = make_ca(folder)
        self.issued: Issued = self.authority.issue(HOSTNAME)
        self.data = folder / "data"
        self.data.mkdir(0o700)
        accounts = AccountStore(SQLiteAccounts(self.data / "accounts.db", Disk()))
        accounts.close()
        spool = SQLiteSpool(self.data / "spool" / "queue.db", Disk())
        (self.data / "spool").mkdir(0o700)
        spool.open()
        spool.close()
        (self.data / "lock").touch(0o600)
        write_key(folder / "s1.pem", Ed25519PrivateKey.generate())
        (self.data / "mail").mkdir(0o700)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.listeners = [
            self._stack.enter_context(ScriptedListener(protocol, tls, self.issued))
            for protocol, tls in (("smtp", "starttls"), ("submission", "implicit"), ("pop3", "starttls"))
        ]
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


class DoctorSite:
    """One installation. ``machine`` and ``server`` may be replaced, ``zone`` and the files be changed."""

    def __init__(self, folder: Path, template: Template, reactor: RealReactor, zone: DnsZone) -> None:
        self.path = folder / "mailserver.toml"
        self.folder, self.data = folder, folder / "data"
        self.template, self.reactor, self.zone = template, reactor, zone
        self.now = datetime.now(UTC).timestamp()
        self.text = f'data = "data"\n{CONFIG}[dns]\nservers = ["{zone.address}"]\n'
        shutil.copytree(template.data, self.data)
        template.issued.put(folder / "fullchain.pem", folder / "privkey.pem")
        shutil.copy(template.folder / "s1.pem", folder)
        self.backed_up(0)
        self.machine = Machine(
            addresses=lambda: (ADDRESS,),
            is_synchronised=lambda: True,
            status=lambda path: FileSystem(),
            descriptors=lambda: 1_000_000,
            cores=lambda: 4,
        )
        self.server: RunningServer | None = RunningServer(
            version=__version__,
            pid=1,
            loaded=self.now + 60,
            descriptors=1_000_000,
            listeners=[listener.entry for listener in template.listeners],
            workers=[{"number": 1, "pid": 1, "since": self.now, "ready": True}],
        )
        self.server_trouble: DoctorFinding | None = None
        self.offline = False
        self.policy: Callable[[], bytes] = lambda: POLICY
        self.write()
        self.give_away()
        zone.add(f"2.0.0.127.{LIST} A 127.0.0.2")
        publish(zone, self.path, ADDRESS)

    def write(self) -> None:
        self.path.write_text(self.text)
        self.path.chmod(0o600)

    def give_away(self) -> None:
        """Root must not own the data."""
        if os.geteuid() == 0:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def configure(self, *changes: str) -> None:
        """Merge tables of TOML into the configuration; later values replace earlier ones."""
        tree = tomllib.loads(self.text)
        for change in changes:
            for name, value in tomllib.loads(change).items():
                if isinstance(value, dict) and isinstance(tree.get(name), dict):
                    tree[name].update(value)
                else:
                    tree[name] = value
        # A document of inline tables.
        self.text = "\n".join(f"{name} = {_toml(value)}" for name, value in tree.items())
        self.write()

    def backed_up(self, days: float) -> None:
        """The last backup was made so many days ago."""
        made = datetime.fromtimestamp(self.now - days * 86400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        record = {"time": made, "directory": str(self.folder), "messages": 1}
        (self.data / "last-backup.json").write_text(json.dumps(record))

    def serves(self, number: int, listener: ScriptedListener) -> None:
        """Let the running server have another listener at this place."""
        assert self.server is not None
        listeners = list(self.server.listeners)
        listeners[number] = listener.entry
        self.server = attrs.evolve(self.server, listeners=listeners)

    def accounts(self, change: Callable[[AccountStore], object]) -> None:
        """Change the account store."""
        store = AccountStore(SQLiteAccounts(self.data / "accounts.db", Disk()))
        change(store)
        store.close()
        self.give_away()

    def mailbox(self, path: str, *sizes: int, age: float = 0.0) -> Path:
        """A Maildir with messages of these sizes, which came so many seconds ago."""
        box = self.data / "mail" / path
        for name in ("new", "cur", "tmp"):
            (box / name).mkdir(parents=True, mode=0o700)
        for folder in (box, box.parent, *box.iterdir()):
            folder.chmod(0o700)
        for number, size in enumerate(sizes):
            file = box / "new" / f"{number}.M1P1Q1R1.host,S={size},W={size}"
            file.touch(0o600)
            os.utime(file, (self.now - age, self.now - age))
        self.give_away()
        return box

    def waits(self, recipients: int, *, age: float, **changes: Any) -> None:
        """A message that has waited for so many seconds."""
        spool = SQLiteSpool(self.data / "spool" / "queue.db", Disk())
        spool.open()
        message = QueuedMessage(1, "id1", self.now - age, "a@example.org", 1, InMemoryContent(b"x"))
        usual = QueuedRecipient(
            0, remote_destination("far.example"), "b@far.example", "b@far.example", "", b"", 0, self.now, ()
        )
        with_changes = attrs.evolve(usual, **changes)
        transaction = spool.begin()
        transaction.enqueue(message, [attrs.evolve(with_changes, number=n) for n in range(recipients)])
        transaction.commit()
        spool.close()
        self.give_away()

    # ------------------------------------------------------------ the doctor

    def installation(self) -> Installation:
        config = load(self.path)
        return Installation(
            path=self.path,
            config=config,
            version=__version__,
            now=self.now,
            reactor=self.reactor,
            resolver=Resolver(config.dns, stand_in(self.reactor)),
            run=execute,
            fetch_policy=lambda domain: execute(self.policy),
            machine=self.machine,
            server=self.server,
            server_trouble=self.server_trouble,
            offline=self.offline,
            accounts=effective_accounts(config),
            is_public=lambda address: address == ADDRESS,
        )

    def run(self, name: str) -> Sequence[Examined]:
        """The results of one check."""
        it = self.installation()
        if name in BLOCKING:
            return list(BLOCKING[name](it))
        check: Any = {**NEARBY, **FAR}[name]
        found: Sequence[Examined] = self.reactor.wait(Deferred.fromCoroutine(check(it)))
        return found

    def examine(self) -> Examination:
        """The results of all checks."""
        found: Examination = self.reactor.wait(Deferred.fromCoroutine(examine(self.installation())))
        return found


def publish(zone: DnsZone, path: Path, address: str) -> None:
    """Add all records that the domain of a configuration should have."""
    for record in ZoneCheck(path, load(path), "example.org", [address]).zone().wanted:
        zone.add(f"{record.name} {record.kind} {record.data}")


def findings(results: Iterable[Examined]) -> list[DoctorFinding]:
    return [one for one in results if isinstance(one, DoctorFinding)]


def outline(results: Iterable[Examined]) -> list[tuple[str, str, str]]:
    """The severity, the kind and the subject of each finding."""
    return [(one.severity, one.kind, one.subject) for one in findings(results)]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(name)} = {_toml(each)}' for name, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
