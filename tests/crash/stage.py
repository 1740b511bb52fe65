"""The real spool on the real store, for sequences of which each call is recorded.

The clock stands still: a checkpoint is made when a workload says so, and each call of another thread is
waited for, so that the same workload always gives the same steps.
"""

import errno
import os
import threading
from collections.abc import Callable, Container
from math import inf
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from mailserver.cluster.alone import Alone
from mailserver.delivery.local import LocalDelivery
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.interfaces import IContent, QueuedMessage
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope, ReportRequest
from mailserver.mail.queued import LOCAL, REMOTE, QueuedRecipient
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import Destination, Routed
from mailserver.queue.administration import Progress, QueueAdministration
from mailserver.queue.entries import RecordedAttempt
from mailserver.queue.incoming import deliveries, remote_recipients
from mailserver.queue.removal import SyncedMaildrops
from mailserver.queue.reports import Reports
from mailserver.queue.runner import Runner
from mailserver.queue.schedule import Schedule
from mailserver.queue.selection import Selection
from mailserver.queue.spool import Spool
from mailserver.queue.sqlite.engine import SQLiteSpool
from mailserver.queue.writer import Job
from mailserver.store.maildir import MaildirStore
from tests.crash.disk_model import FOLDER, Tree
from tests.crash.elsewhere import FAR, ScriptedDelivery, far
from tests.crash.older import make_older
from tests.crash.recording import DATABASE, SYNCS, RecordingCalls, Sent
from tests.support.fakes import stand_in
from tests.support.store.messages import together
from tests.support.store.pumped import PumpedReactor

QUOTA = Quota(messages=1)
FIRST_RETRY = 60.0  # seconds


class Reactor(PumpedReactor, Clock):
    """Pumped, with a clock that stands still."""

    def __init__(self) -> None:
        Clock.__init__(self)
        PumpedReactor.__init__(self)


def address(box: str) -> Address:
    return Address(box, "example.org")


class Hold(Job):
    """Keeps the spool's writer waiting, so that all that comes meanwhile is one group."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.go = threading.Event(), threading.Event()

    def record(self, transaction: Any, check_room: object) -> None:
        self.held.set()
        assert self.go.wait(30)


class Router:
    """Every address is a mailbox, here or on the other server."""

    postmaster = address("postmaster")

    def route(self, recipient: Address) -> Any:
        return succeed(Routed((Destination(recipient, recipient, remote=recipient.domain == FAR),)))


class Server:
    """A spool and its store on ``data``, without the network."""

    def __init__(self, data: Path, reactor: Any, calls: RecordingCalls) -> None:
        self.data = data
        self.reactor = reactor
        self.calls = calls
        self.quotas: dict[Address, Quota] = {}

    def start(self) -> None:
        """As the service does it. Raises ``StorageError``."""
        disk = Disk(self.calls)
        damaged = DamagedFolder(self.data / "damaged", disk)
        self.store = MaildirStore(
            self.data / "mail", "mail.example.org", disk, self.reactor,
            damaged=damaged, quota_of=self.quotas.get,
        )  # fmt: skip
        self.engine = SQLiteSpool(self.data / DATABASE, disk)
        self.spool = Spool(
            self.store, self.engine, self.data / "tmp", damaged, self.reactor,
            first_retry=lambda: FIRST_RETRY, now=self.reactor.seconds,
        )  # fmt: skip
        self.store.open()
        self.spool.open()
        self.maildrops = SyncedMaildrops(self.store, self.spool.checkpoint, Alone())

    def stop(self) -> None:
        """End without finishing anything, as a process that is killed."""
        self.engine.close()
        self.store.close()


class NotedDelivery(ScriptedDelivery):
    """The other server: what it accepts is noted."""

    def __init__(self, calls: RecordingCalls) -> None:
        super().__init__()
        self._calls = calls
        self._unrecorded: list[tuple[str, str]] = []

    def accepts(self, message: QueuedMessage, recipient: QueuedRecipient, text: bytes) -> None:
        """See :class:`ScriptedDelivery`."""
        self._calls.note("accepted", message.id, recipient.address)
        if not recipient.address.startswith("lost@") or self._asked[message.id, recipient.address] > 1:
            self._unrecorded.append((message.id, recipient.address))

    def recorded(self) -> None:
        """No attempt is under way, so each answer that has come must have been recorded."""
        for message, to in self._unrecorded:
            self._calls.note("recorded", message, to)
        self._unrecorded.clear()


class Stage(Server):
    """A server that workloads use, and the ledger of what it has promised."""

    def __init__(self, data: Path, reactor: Reactor) -> None:
        data.mkdir()
        (data / "tmp").mkdir()
        super().__init__(data, reactor, RecordingCalls(data, Tree({"tmp": FOLDER})))
        self.sent: dict[str, Sent] = {}
        self._elsewhere = NotedDelivery(self.calls)

    def start(self) -> None:
        """See :class:`Server`. Reports are noted as messages that begin."""
        super().start()
        accept = self.spool.accept

        def accepted(content: IContent, envelope: Envelope, *rest: Any, **more: Any) -> "Deferred[Any]":
            done: Deferred[Any] = accept(content, envelope, *rest, **more)
            if envelope.reverse_path is None:
                octets = b"".join(content.chunks())
                about = rest[2] if b"\r\nAction: failed" in octets else None
                self._report(envelope, octets, about)
                done.addCallbacks(lambda _: self._answered(envelope.id), self._failed)
            return done

        self.spool.accept = accepted

    def _report(self, envelope: Envelope, octets: bytes, about: RecordedAttempt | None) -> None:
        gone = about.gone if about is not None else ()
        failed = frozenset((about.message.id, _box(each.address)) for each in gone if about is not None)
        self.sent[envelope.id] = Sent(self._texts(envelope, b"", octets), failed=failed)
        self.calls.note("begun", envelope.id)

    @staticmethod
    def _texts(envelope: Envelope, trace: bytes, content: bytes) -> dict[str, bytes]:
        here = deliveries(envelope, trace, len(content))
        return {
            **{each.mailbox.local: each.head + content for each in here},
            **{each.address: each.head + content for each in remote_recipients(envelope, trace)},
        }

    def wait(self, deferred: "Deferred[Any]") -> Any:
        return self.reactor.wait(deferred)

    def end(self) -> None:
        """The server is told to stop."""
        self.wait(Deferred.fromCoroutine(self.spool.close()))
        self.store.close()

    def die(self) -> None:
        """The process is gone that does nothing any more; its threads and descriptors are let go of."""
        self.wait(Deferred.fromCoroutine(self.spool._writer.close()))
        self._cancel_timers()
        self.calls.live()
        self.stop()

    def _cancel_timers(self) -> None:
        for call in self.reactor.getDelayedCalls():
            call.cancel()

    def send(
        self, message: str, *to: str, size: int = 300, sender: Address | None = None, notify: str = ""
    ) -> "Deferred[Any]":
        """Send to mailboxes, or with "alias/mailbox" by another name, or to whole addresses on the other
        server; fires when it is answered."""
        destinations = tuple(map(_destination, to))
        recipients = tuple(each.delivered_to for each in destinations)
        envelope = Envelope(
            message, sender or address("dave"), recipients, destinations,
            reports=dict.fromkeys(recipients, ReportRequest(notify)),
        )  # fmt: skip
        trace = f"Received: as {message}\r\n".encode()
        incoming = self.spool.receive(envelope, trace)
        line = f"{message}{'.' * 60}\r\n".encode()
        content = f"Subject: {message}\r\n\r\n".encode() + line * (size // len(line))
        self.sent[message] = Sent(self._texts(envelope, trace, content))
        self.calls.note("begun", message)
        incoming.write(content)
        return incoming.commit().addCallbacks(lambda _: self._answered(message), self._failed)

    def _answered(self, message: str) -> None:
        for box, text in self.sent[message].texts.items():
            for path in (self.data / f"mail/example.org/{box}").glob("[nc]*/*"):
                if path.read_bytes() == text:
                    self.sent[message].names[box] = path.name.partition(":")[0]
        self.calls.note("answered", message)

    def _failed(self, failure: Any) -> None:
        failure.trap(StorageError)

    def deliver(self, message: str, *to: str, **options: Any) -> None:
        self.wait(self.send(message, *to, **options))

    def deliver_group(self, messages: dict[str, tuple[str, ...]], sizes: dict[str, int]) -> None:
        """All of them in one transaction."""
        hold = Hold()
        self.spool.submit(hold)
        assert hold.held.wait(30)
        sent = [self.send(message, *to, size=sizes.get(message, 300)) for message, to in messages.items()]
        hold.go.set()
        self.wait(together(sent))

    def checkpoint(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Sync all; ``meanwhile`` is done when it is about to sync for the first time."""
        held, go = threading.Event(), threading.Event()
        main = threading.get_ident()

        def before(name: str) -> None:
            if name in SYNCS and not held.is_set() and threading.get_ident() != main:
                held.set()
                assert go.wait(30)

        if meanwhile is not None:
            self.calls.before = before
        done = self.spool.checkpoint.run()
        done.addErrback(self._failed)
        if meanwhile is not None:
            while not held.wait(0.01) and not self.calls.dead:
                pass
            meanwhile()
            go.set()
        self.wait(done)
        self.calls.before = lambda name: None

    def failing_checkpoint(self, number: int, *, longer: bool = False) -> None:
        """Sync all, but the sync of this number, counted from 1, fails; if it fails ``longer``,
        no file can be opened either."""
        count = 0

        def before(name: str) -> None:
            nonlocal count
            count += name in SYNCS
            if (name in SYNCS and count == number) or (longer and name == "open" and count):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        self.calls.before = before
        self.checkpoint()

    def remove(self, box: str, *messages: str) -> None:
        """A POP3 session that removes messages."""
        drop = self.wait(self.maildrops.maildrop(address(box)))
        uids = {self.sent[message].names[box].partition(",")[0]: message for message in messages}
        indexes = [number for number, message in enumerate(drop.messages) if message.uid in uids]
        for message in messages:
            self.calls.note("removing", message, box)
        failed = self.wait(drop.remove(indexes))
        drop.release()
        for index in indexes:
            if index not in failed:
                self.calls.note("removed", uids[drop.messages[index].uid], box)

    def flag(self, box: str) -> None:
        """Another program moves all that is new to where it has been seen."""
        for path in sorted((self.data / f"mail/example.org/{box}/new").iterdir()):
            self.calls.rename(path, path.parent.parent / "cur" / f"{path.name}:2,S")

    def run_runner(self, expire_after: float = 5 * FIRST_RETRY, warn_after: float = inf) -> None:
        """An attempt for all that is due, and one more for all that waits then."""
        schedule = Schedule((FIRST_RETRY,), expire_after, warn_after)
        deliveries = {LOCAL: LocalDelivery(self.spool), REMOTE: stand_in(self._elsewhere)}
        runner = Runner(
            self.spool, deliveries, self._reports(), lambda: schedule, self.reactor, now=self.reactor.seconds
        )
        self._cancel_timers()  # a checkpoint that is due, too, would come at any moment
        runner.start()
        self._finish(runner)
        self.reactor.advance(FIRST_RETRY + 1)
        self._finish(runner)
        self.wait(Deferred.fromCoroutine(runner.stop()))
        self._elsewhere.recorded()
        self._cancel_timers()

    def _reports(self) -> Reports:
        router, now = stand_in(Router()), self.reactor.seconds
        return Reports(self.spool, router, "mail.example.org", self.reactor, now)

    def _finish(self, runner: Runner) -> None:
        while busy := runner._busy:
            self.wait(next(iter(busy)))

    def administer(self, action: str, *addresses: str) -> None:
        """Do as ``mailserver queue`` does, for recipients without an attempt in progress."""
        now = self.reactor.seconds
        administration = QueueAdministration(self.spool, stand_in(Idle()), self._reports(), self.reactor, now)
        for each in addresses:
            messages = [message for message, sent in self.sent.items() if each in sent.texts]
            if action == "remove":
                for message in messages:
                    self.calls.note("removing", message, each)
            done = Progress()
            while done.after is not None:
                done = self.wait(
                    Deferred.fromCoroutine(administration.apply(action, Selection(recipient=each), done))
                )
            if action == "remove":
                for message in messages:
                    self.calls.note("removed", message, each)

    def migrate(self) -> None:
        """A stop, and the start of a server that finds the spool of an older version."""
        self.end()
        make_older(self.data / "spool", self.calls)
        self.start()


class Idle:
    """A runner that tries nobody."""

    def is_trying(self, destination: str, seq: int) -> bool:
        return False

    def forget_failures(self, destination: str) -> None:
        pass

    def unload(self, destination: str, seqs: Container[int]) -> None:
        pass


def _destination(name: str) -> Destination:
    if "@" in name:
        return far(*name.split("@"))
    alias, _, box = name.rpartition("/")
    return Destination(address(box), address(alias or box))


def _box(address: str) -> str:
    """The name of a mailbox: here the local part, elsewhere the address."""
    return address.removesuffix("@example.org")
