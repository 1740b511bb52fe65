"""Maildirs for tests: a store in a folder of its own, whose disk fails when a test says so."""

from pathlib import Path

from attrs import define

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.store.maildir import MaildirStore
from tests.support.fakes import stand_in
from tests.support.faulty_calls import FaultyCalls
from tests.support.store.pumped import PumpedReactor


def make_store(root: Path, calls: FaultyCalls, reactor: PumpedReactor) -> MaildirStore:
    disk = Disk(calls)
    return MaildirStore(
        root,
        "mail.example.org",
        disk,
        stand_in(reactor),
        damaged=DamagedFolder(root.parent / "damaged", disk),
    )


@define
class Maildirs:
    """A store in a folder of its own, its system calls, and a look behind its back."""

    root: Path
    reactor: PumpedReactor
    calls: FaultyCalls
    store: MaildirStore

    def wait(self, deferred):
        return self.reactor.wait(deferred)

    def box(self, name="alice") -> Path:
        return self.root / "example.org" / name

    def files(self, folder: str) -> list[Path]:
        """All that is in this folder of any mailbox."""
        return sorted(self.root.glob(f"*/*/{folder}/*"))

    def put(self, folder: str, name: str, data: bytes) -> Path:
        """Another program delivers to alice."""
        for each in ("cur", "new", "tmp"):
            (self.box() / each).mkdir(parents=True, exist_ok=True)
        path = self.box() / folder / name
        path.write_bytes(data)
        return path

    def reopen(self) -> None:
        self.wait(self.store.close())
        self.store = make_store(self.root, self.calls, self.reactor)
        self.store.open()
        self.calls.fail_none()
