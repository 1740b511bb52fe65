"""A spool on a disk that fails: the stand notes what it was told of every message, and compares.

What it is told is compared with what is in the mailboxes, as POP3 and as the file system show them.
"""

import errno
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from mailserver.delivery.local import LocalDelivery
from mailserver.durable.calls import Statement, SystemCalls
from mailserver.errors import StorageError, storage_error
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address
from mailserver.mail.envelope import ReportRequest
from mailserver.mail.queued import LOCAL, REMOTE
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import Destination, Routed
from mailserver.queue.administration import POSTPONED, Progress, QueueAdministration
from mailserver.queue.entries import Entry
from mailserver.queue.incoming import deliveries
from mailserver.queue.reports import Reports
from mailserver.queue.runner import Runner
from mailserver.queue.schedule import Schedule
from mailserver.queue.selection import Selection
from mailserver.queue.writer import Job
from tests.crash.elsewhere import FAR, NUMBER, Elsewhere
from tests.crash.failing import FailingCalls
from tests.support.fakes import stand_in
from tests.support.queue.spools import FIRST_RETRY, SENDER, SpoolReactor, Spools, envelope

MOST_ATTEMPTS = 6  # until the last recipient expires


@attrs.define(eq=False)
class Copy:
    """One copy of a message. ``taken`` is None while nothing is known."""

    mailbox: Address
    text: bytes
    taken: bool | None = None
    removed: bool = False
    perhaps_removed: bool = False


@attrs.define(eq=False)
class Gate(Job):
    """Keeps the spool's writer busy, so that what is submitted meanwhile becomes one group."""

    reached: threading.Event = attrs.field(factory=threading.Event)
    leave: threading.Event = attrs.field(factory=threading.Event)

    def record(self, transaction: object, check_room: object) -> None:
        self.reached.set()
        assert self.leave.wait(30)


class AnybodysRouter:
    """Every address is a mailbox of that name, here or on the other server."""

    postmaster = Address("postmaster", "example.org")

    def route(self, recipient: Address) -> Deferred[Routed]:
        return succeed(Routed((Destination(recipient, recipient, remote=recipient.domain == FAR),)))


class Hurried:
    """A reactor on which nobody waits for a time."""

    def __init__(self, reactor: SpoolReactor) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def callLater(self, seconds: float, call: Callable[..., Any], *arguments: Any) -> None:
        self._reactor.callFromThread(call, *arguments)


class Stand:
    """A spool on a disk that fails, what was done with it, and what is wrong."""

    def __init__(self, root: Path, reactor: SpoolReactor, calls: FailingCalls) -> None:
        self.spools = Spools(root, reactor, calls)
        self.calls = calls
        self.copies: list[Copy] = []
        self.errors: list[StorageError] = []
        self.no_start: StorageError | None = None
        self.wrong: list[str] = []
        self.elsewhere = Elsewhere()
        self.expire_after = 1e9  # seconds
        self.warn_after = 1e9
        self.reports_to: Address | None = None
        self.running = False
        self._number = 0
        self._runner: Runner | None = None

    # Start, end

    def start(self) -> None:
        """Start, or note that this failed."""
        try:
            self.spools.open()
            self.spools.spool.sweep()
            self.spools.wait(self.spools.spool._sweeping)
            self._new_runner()
            self.running = True
        except StorageError as error:
            self.no_start = error

    def _new_runner(self) -> None:
        self._runner = Runner(
            self.spools.spool,
            {LOCAL: LocalDelivery(self.spools.spool), REMOTE: stand_in(self.elsewhere)},
            self._reports(stand_in(self.spools.reactor)),
            lambda: Schedule((FIRST_RETRY,), self.expire_after, self.warn_after),
            stand_in(self.spools.reactor),
            now=self.spools.reactor.seconds,
        )
        self._runner.start()

    def _reports(self, reactor: IReactor) -> Reports:
        router = stand_in(AnybodysRouter())
        return Reports(self.spools.spool, router, "mail.example.org", reactor, reactor.seconds)

    def stop(self) -> None:
        """Stop in good order."""
        if self.running:
            self._stop_runner()
            self.spools.close()
            self.running = False
        self.spools._make()

    def _stop_runner(self) -> None:
        assert self._runner is not None
        self.spools.wait(self._runner.stop())

    def leave(self) -> None:
        """The process is gone; the kernel still has what it wrote."""
        if self.running:
            kept = self.calls.unsafe.copy(), self.calls.doubtful.copy(), self.calls.in_doubt
            self.calls.fail_all("commit", errno.EIO)  # nothing is recorded any more
            self._stop_runner()
            self.elsewhere.crash(self.waiting())
            self.spools.leave()
            self.calls.unsafe, self.calls.doubtful, in_doubt = kept
            self._carry_out(in_doubt)
            self.running = False
        self.spools._make()

    def _carry_out(self, statements: Sequence[Statement]) -> None:
        """The log is found to end with a whole transaction: what was refused for it may be there."""
        if statements:
            self.calls.in_doubt = ()
            database = sqlite3.connect(self.spools.root / "spool" / "queue.db", isolation_level=None)
            SystemCalls().commit(database, statements)
            database.close()
            for copy in self.copies:
                copy.taken = copy.taken or None
            for one in self.elsewhere.sent:
                one.taken = one.taken or None
            # If it was the checkpoint's, nobody knows of its sources any more: they are swept one day.
            self.calls.not_removed.update(map(str, self.spools.files("tmp")))

    def power_cut(self) -> None:
        """The process is gone, and with it of what was never synced a half, or all, or nothing."""
        self.leave()
        lost = self.calls.power_cut()
        files = [*self.spools.root.glob("mail/*/*/*/*"), *self.spools.contents()]
        files = [path for path in files if path.stat().st_ino in lost]
        for number, path in enumerate(sorted(files)):
            if number % 3 == 0:
                path.unlink(missing_ok=True)
            elif number % 3 == 1:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    # Doing

    def send(
        self, *to: Address | Destination, size: int = 200, sender: Address = SENDER, notify: str = ""
    ) -> Deferred[None]:
        """Hand a message to the spool; fires when it was told what came of it."""
        self._number += 1
        sent = envelope(*to, reverse_path=sender)
        sent = attrs.evolve(sent, reports=dict.fromkeys(sent.recipients, ReportRequest(notify)))
        message = self.spools.spool.receive(sent, b"")
        line = b"%06d %s\r\n" % (self._number, b"x" * 60)
        content = b"Subject: %06d\r\n\r\n%s" % (self._number, line * (size // len(line) + 1))
        message.write(content)
        copies = [Copy(each.mailbox, each.head + content) for each in deliveries(sent, b"", len(content))]
        self.copies += copies
        relayed = self.elsewhere.expect(sent, content)

        def told(result: Any) -> None:
            for copy in copies:
                copy.taken = not isinstance(result, Failure)
            for one in relayed:
                one.taken = not isinstance(result, Failure)
            if isinstance(result, Failure):
                self._failed(result.value)  # type: ignore[arg-type]

        return message.commit().addBoth(told)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, StorageError):
            self.errors.append(error)
        else:
            self.wrong.append(f"not a StorageError: {error!r}")

    def deliver(self, *to: Address | Destination, **options: Any) -> bool:
        """Whether a message was taken; options as in ``send``. What is due at once is over."""
        before = len(self.errors)
        self.spools.wait(self.send(*to, **options))
        self._finish()
        return len(self.errors) == before

    def group(self, *messages: tuple[tuple[Address | Destination, ...], int]) -> None:
        """Messages that the writer meets all at once."""
        gate = Gate()
        passed = self.spools.spool.submit(gate)
        assert gate.reached.wait(30)
        sent = [self.send(*to, size=size) for to, size in messages]
        gate.leave.set()
        for deferred in [passed, *sent]:
            self.spools.wait(deferred)

    def checkpoint(self) -> bool:
        """Whether everything could be synced."""
        try:
            self.spools.checkpoint()
        except StorageError:
            return False
        return True

    def attempt(self, after: float = FIRST_RETRY) -> None:
        """The runner's next attempt for whoever waits."""
        self.spools.reactor.advance(after + 1)
        self._finish()

    def serve_all(self) -> None:
        """One attempt, and more while anybody waits, but not without an end; nobody is held any more."""
        if self.elsewhere.sent:
            self.administer("release")
        self.attempt()
        for _ in range(MOST_ATTEMPTS):
            if not self.spools.waiting():
                break
            self.attempt(POSTPONED)  # for an administrator whose command has failed

    def _finish(self) -> None:
        assert self._runner is not None
        while busy := self._runner._busy:  # what is planned next must be the runner's own doing
            self.spools.wait(next(iter(busy)))

    def administer(self, action: str, name: str = "") -> None:
        """Do as ``mailserver queue`` does, for recipients of this name on the other server, or for all."""
        assert self._runner is not None
        spool, reactor = self.spools.spool, stand_in(Hurried(self.spools.reactor))
        administration = QueueAdministration(
            spool, self._runner, self._reports(reactor), reactor, reactor.seconds
        )
        recipient, done = f"{name}@{FAR}" if name else "", Progress()
        for one in self.elsewhere.sent:
            one.removed |= action == "remove" and one.address == recipient
        try:
            while done.after is not None:
                done = self.spools.wait(administration.apply(action, Selection(recipient=recipient), done))
        except (StorageError, OSError) as error:
            self.errors.append(storage_error(error) if isinstance(error, OSError) else error)
        self._finish()

    def waiting(self) -> set[tuple[bytes, str]]:
        """Numbers and addresses of those that wait."""
        found = set()
        for message, recipients in self.spools.waiting():
            number = NUMBER.search(b"".join(message.content.chunks()))
            if message.reverse_path and number:
                found |= {(number[1], each.address) for each in recipients}
        return found

    def full(self, *mailboxes: Address) -> None:
        """These mailboxes, and no others, have no room."""
        self.spools.quotas.clear()
        self.spools.quotas.update({mailbox.key: Quota(octets=1) for mailbox in mailboxes})

    def remove(self, mailbox: Address, count: int) -> Callable[[], None]:
        """Look at a mailbox; what is returned removes its first ``count`` messages."""
        drop = self.spools.wait(self.spools.maildrops.maildrop(mailbox))
        texts = [self.spools.wait(drop.read(number)) for number in range(count)]
        copies = [one for text in texts for one in self.copies if (one.mailbox, one.text) == (mailbox, text)]
        uids = [drop.messages[number].uid for number in range(count)]

        def remove() -> None:
            self.calls.removed.clear()
            failed = frozenset(range(count))
            try:
                failed = self.spools.wait(drop.remove(range(count)))
            except StorageError as error:
                self.errors.append(error)
            for number, (copy, uid) in enumerate(zip(copies, uids, strict=True)):
                if number not in failed:
                    copy.removed = True
                elif any(uid in path for path in self.calls.removed):
                    copy.perhaps_removed = True
            drop.release()

        return remove

    # Comparing

    def compare(self, when: str, *, waiting: bool = False) -> None:
        """Everything taken is there once, unless somebody waits, and nothing else is."""
        boxes = dict.fromkeys(copy.mailbox for copy in self.copies)
        for mailbox in boxes:
            found = Counter(self.spools.look(mailbox))
            for copy in self.copies:
                if copy.mailbox == mailbox:
                    number = found.pop(copy.text, 0)
                    most = int(copy.taken is not False and not copy.removed)
                    least = 0 if waiting or copy.perhaps_removed or copy.taken is None else most
                    if not least <= number <= most:
                        what = "removed" if copy.removed else "taken" if copy.taken else "refused"
                        self.wrong.append(
                            f"{when}: {copy.text.partition(b'Subject: ')[2][:6]!r} was {what} and "
                            f"is {number} times in {mailbox}"
                        )
            self.wrong += [f"{when}: nobody sent {text[:300]!r} to {mailbox}" for text in found]

    def compare_relayed(self, when: str, *, synced: bool = False) -> None:
        """Every recipient on the other server has at most one end, and a report is about one that failed."""
        found = self.elsewhere.compare(self.spools.look(SENDER), self.waiting(), synced=synced)
        self.wrong += [f"{when}: {text}" for text in found]

    def compare_reports(self, when: str) -> None:
        """A report was sent once, and who it is about does not wait any more."""
        if self.reports_to is not None:
            found = self.spools.look(self.reports_to)
            if len(found) != 1 or b"Final-Recipient:" not in found[0]:
                self.wrong.append(f"{when}: {len(found)} reports")

    def compare_temporary(self, when: str, *, synced: bool) -> None:
        """No file in tmp/ but what the spool relies on, will replace, or could not remove."""
        known = set(self.calls.not_removed)
        for entry in [] if synced else self.spools.engine.entries():
            assert isinstance(entry, Entry)
            for text in entry.copies:
                known.add(f"{self.spools.root}/mail/{text.source}")
                known |= {f"{self.spools.root}/mail/{box}/tmp/{text.uid}.restored" for box in text.mailboxes}
        left = [str(path) for path in self.spools.files("tmp") if str(path) not in known]
        if left:
            self.wrong.append(f"{when}: left in tmp/: {left}")

    def compare_synced(self, when: str) -> None:
        """Nothing is in the spool, and nothing that is in a mailbox was trusted to a second sync."""
        if rows := self.spools.rows():
            self.wrong.append(f"{when}: rows {rows} are still in the spool")
        if left := [path for path in map(str, self.spools.contents()) if path not in self.calls.not_removed]:
            self.wrong.append(f"{when}: left of what waited: {left}")
        for path in [*self.spools.files("new"), *self.spools.files("cur")]:
            inode = path.stat().st_ino
            if inode in self.calls.doubtful:
                self.wrong.append(f"{when}: {path} is what a failed sync has left")
            elif inode in self.calls.unsafe:
                self.wrong.append(f"{when}: {path} was never synced")
