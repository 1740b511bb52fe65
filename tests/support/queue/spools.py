"""A spool in front of Maildirs, whose disk fails and whose time passes when a test says so."""

import errno
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailserver.app.data import left_over_queue_files, queue_file, worker_queue_file
from mailserver.cluster.alone import Alone
from mailserver.cluster.interfaces import FIRST
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.interfaces import QueuedMessage
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import new_id
from mailserver.mail.queued import QueuedRecipient
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import Destination
from mailserver.queue.incoming import IncomingMessage
from mailserver.queue.memory import MemorySpool, MemoryTransaction
from mailserver.queue.removal import SyncedMaildrops
from mailserver.queue.selection import Selection
from mailserver.queue.shards.absorption import Absorption
from mailserver.queue.shards.forwarding import ACCEPT, ForwardedContents, accept_forwarded
from mailserver.queue.shards.worker_spool import WorkerSpool
from mailserver.queue.spool import Spool
from mailserver.queue.sqlite.engine import SQLiteSpool
from mailserver.store.maildir import MaildirStore
from mailserver.store.memory import MemoryStore
from tests.support.fakes import stand_in
from tests.support.faulty_calls import FaultyCalls
from tests.support.peers import peers
from tests.support.store import messages
from tests.support.store.pumped import PumpedReactor

SENDER = Address("me", "x.example")
FIRST_RETRY = 300.0  # seconds
NOW = 1_700_000_000.0  # seconds since the epoch


def envelope(*to: Address | Destination, reverse_path: ReversePath = SENDER) -> Envelope:
    """To mailboxes; who was addressed by another name than the mailbox's is a Destination."""
    destinations = tuple(one if isinstance(one, Destination) else Destination(one, one) for one in to)
    recipients = tuple(dict.fromkeys(one.delivered_to for one in destinations))
    return Envelope(new_id(), reverse_path, recipients, destinations)


class SpoolReactor(PumpedReactor, Clock):
    """Real threads, and time that stands still until it is told to ``advance``."""

    def __init__(self) -> None:
        Clock.__init__(self)
        PumpedReactor.__init__(self)
        self.rightNow = NOW


class Spools:
    """A store and a spool below ``root``, as the composition root joins them.

    ``quotas`` may be changed at any time. Nothing is synced before ``checkpoint``, or before the
    reactor is told to ``advance``. ``peers`` gives the place of a new process among the workers.
    ``folder`` is that of the spool, below ``root``.
    """

    def __init__(
        self,
        root: Path,
        reactor: SpoolReactor,
        calls: FaultyCalls | None = None,
        *,
        reserve: int = 0,
        check_room: Callable[[], None] = lambda: None,
        peers: Callable[[], Any] = Alone,
    ) -> None:
        self.root = root
        self.reactor = reactor
        self.calls = calls or FaultyCalls()
        self.quotas: dict[Address, Quota] = {}
        self.reserve = reserve
        self.check_room = check_room
        self.peers = peers
        self._make()

    def _make(self) -> None:
        disk = Disk(self.calls)
        damaged = DamagedFolder(self.root / "damaged", disk)
        self.store = MaildirStore(
            self.root / "mail",
            "mail.example.org",
            disk,
            stand_in(self.reactor),
            damaged=damaged,
            quota_of=lambda mailbox: self.quotas.get(mailbox.key),
            reserve=self.reserve,
        )
        peers = self.peers()
        self.number = peers.number
        is_first = peers.number == FIRST
        path = queue_file(self.root) if is_first else worker_queue_file(self.root, peers.number)
        self.folder = path.parent.relative_to(self.root)
        self.engine = SQLiteSpool(path, disk)
        absorption = Absorption(
            lambda: left_over_queue_files(self.root, peers.others),
            lambda path: SQLiteSpool(path, disk),
            damaged,
            disk,
        )
        options: dict[str, Any] = {
            "first_retry": lambda: FIRST_RETRY,
            "check_room": self.check_room,
            "now": self.reactor.seconds,
        }
        folder, of_clock = self.root / "tmp", stand_in(self.reactor)
        if is_first:
            options["absorb"] = absorption
            self.spool = Spool(self.store, self.engine, folder, damaged, of_clock, **options)
            peers.serve(ACCEPT, partial(accept_forwarded, self.spool))
        else:
            forwarded = ForwardedContents(folder, peers.number, disk, self.check_room)
            options |= {"peers": peers, "forwarded": forwarded}
            self.spool = WorkerSpool(self.store, self.engine, folder, damaged, of_clock, **options)
        self.maildrops = SyncedMaildrops(self.store, self.spool.checkpoint, peers)

    @property
    def first(self) -> "Spools":
        """The one with the queue."""
        return self

    # Open, close

    def open(self) -> None:
        """Start; what is wrong is raised, and the store is then closed again."""
        if self.number != FIRST:  # the first one has started before
            (self.root / "spool").mkdir(parents=True, exist_ok=True)
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        self.store.open()
        try:
            self.spool.open()
        except StorageError:
            self.store.close()
            raise

    def close(self) -> None:
        self.wait(self.spool.close())
        self.wait(self.store.close())

    def leave(self) -> None:
        """Close, and sync nothing: as far as the spool can tell, this was a crash."""
        self.calls.error = errno.EIO
        self.calls.fails = lambda number, name: name in ("open", "syncfs", "fsync")
        self.close()
        self.calls.fail_none()

    def reopen(self, leave: Callable[["Spools"], None] = close) -> None:
        """Close and start again on the same data."""
        leave(self)
        self._make()
        self.open()

    # Mail

    def wait(self, deferred: Any) -> Any:
        """The result of a Deferred or a coroutine, or the exception that it failed with."""
        return self.reactor.wait(
            deferred if isinstance(deferred, Deferred) else Deferred.fromCoroutine(deferred)
        )

    def receive(
        self, *to: Address | Destination, reverse_path: ReversePath = SENDER, trace: bytes = b""
    ) -> IncomingMessage:
        """A message on its way in, see ``envelope``."""
        return self.spool.receive(envelope(*to, reverse_path=reverse_path), trace)

    def deliver(
        self, data: bytes, *to: Address | Destination, reverse_path: ReversePath = SENDER
    ) -> "Deferred[None]":
        """Take a message in."""
        message = self.receive(*to, reverse_path=reverse_path)
        message.write(data)
        return message.commit().addCallback(lambda rejected: None)

    def look(self, mailbox: Address) -> list[bytes]:
        """The messages of a mailbox as POP3 gives them, trace fields in front."""
        found: list[bytes] = messages.look(self.wait, self.maildrops, mailbox)
        return found

    def checkpoint(self) -> None:
        """Sync all there is."""
        self.wait(self.spool.checkpoint.run())

    # Behind its back

    def files(self, folder: str) -> list[Path]:
        """All that is in this folder of any mailbox."""
        return sorted(self.root.glob(f"mail/*/*/{folder}/*"))

    def rows(self) -> list[int]:
        """The numbers of the messages in the spool."""
        return [one.seq for one in self.engine.page(Selection(), 0, 1 << 30)]  # type: ignore[misc]

    def waiting(self) -> list[tuple[QueuedMessage, tuple[QueuedRecipient, ...]]]:
        """The messages that wait, and their recipients."""
        found = [self.engine.load(seq) for seq in self.rows()]
        return [(one.message, one.recipients) for one in found if one is not None]

    def contents(self) -> list[Path]:
        """The files that the spool keeps for what waits."""
        return sorted(self.root.glob("spool/contents/*"))


class WorkerSpools(Spools):
    """The store of another worker, and its spool. Nobody asks it."""

    worker = 2

    def _make(self) -> None:
        self.peers = lambda: peers(self.worker)[-1]
        super()._make()


class ForwardingSpools(Spools):
    """The spool of worker 2, with the first worker, whose queue it uses. Both use the same disk."""

    def __init__(
        self, root: Path, reactor: SpoolReactor, *, check_room: Callable[[], None] = lambda: None
    ) -> None:
        first, second = peers(2)
        self._first = Spools(root, reactor, check_room=check_room, peers=first.started)
        super().__init__(root, reactor, self.first.calls, check_room=check_room, peers=second.started)
        self.quotas = self.first.quotas

    @property
    def first(self) -> Spools:
        return self._first

    def open(self) -> None:
        self.first.open()
        super().open()

    def close(self) -> None:
        super().close()
        self.first.close()

    def reopen(self, leave: Callable[[Any], None] = close) -> None:
        leave(self)
        self.first._make()
        self._make()
        self.open()

    def checkpoint(self) -> None:
        self.first.checkpoint()
        super().checkpoint()

    def rows(self) -> list[int]:
        return [*self.first.rows(), *super().rows()]

    def waiting(self) -> list[tuple[QueuedMessage, tuple[QueuedRecipient, ...]]]:
        return self.first.waiting()


class CountedMemory(MemorySpool):
    """The engine in memory, whose commits are recorded, and fail, as those of a disk."""

    def __init__(self, calls: FaultyCalls) -> None:
        super().__init__()
        self._calls = calls

    def begin(self) -> MemoryTransaction:
        transaction = super().begin()
        commit = transaction.commit

        def counted() -> None:
            with closing(sqlite3.connect(":memory:")) as nothing:
                self._calls.commit(nothing, [("SELECT 1", ())])
            commit()

        transaction.commit = counted
        return transaction


class MemorySpools(Spools):
    """The same with the engine ``memory``: nothing is on the disk."""

    number = FIRST

    def _make(self) -> None:
        self.store = MemoryStore(lambda mailbox: self.quotas.get(mailbox.key))  # type: ignore[assignment]
        self.engine = CountedMemory(self.calls)  # type: ignore[assignment]
        self.spool = Spool(
            self.store,
            self.engine,
            self.root / "tmp",
            DamagedFolder(self.root / "damaged", Disk()),
            stand_in(self.reactor),
            first_retry=lambda: FIRST_RETRY,
            now=self.reactor.seconds,
        )
        self.maildrops = SyncedMaildrops(self.store, self.spool.checkpoint, Alone())
