"""Two POP3 sessions, deliveries and other programs on one mailbox, against a plain model of RFC 1939.

Hypothesis makes up the order of things. A whole server, as the composition root joins it, takes mail by SMTP
and gives it out by POP3; only its sockets and its clock are not real. The model is a list of messages, and
for each session the list that it saw when it logged in.
``MODEL_EXAMPLES=5000 pytest tests/contracts/test_maildrop_model.py`` is the long form, for each engine.
"""

import os
import tempfile
import time
from itertools import count
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from twisted.logger import LogEvent, globalLogPublisher

from mailserver.app.build import make_service
from mailserver.config.loader import load
from tests.support.e2e.server import PASSWORD, UNCHECKED, configuration
from tests.support.fakes import stand_in
from tests.support.model_clients import BODIES, BOTH, FLAGS, MANY, PATIENCE, Message, Reactor, Reader, Sender
from tests.support.postgresql import shared
from tests.support.runs import examples

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", examples(0.15)))
LONG_ENOUGH = 3600.0  # seconds; no client may be silent for so long


def logged_in(machine: "MaildropMachine") -> bool:
    return machine.holder is not None


class MaildropMachine(RuleBasedStateMachine):
    """The mailbox of alice on a server with one of the engines."""

    storage: str

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="mailserver-test-")
        self.config = Path(self.folder.name) / "mailserver.toml"
        self.config.write_text(configuration(tables=f"{UNCHECKED}[storage]\n{self.storage}"))
        self.failures: list[LogEvent] = []
        globalLogPublisher.addObserver(stand_in(self.observe))
        self.reactor = Reactor()
        self.numbers = count(1)
        self.messages: list[Message] = []
        self.by_content: dict[bytes, Message] = {}
        self.by_uid: dict[bytes, Message] = {}
        # Marked by a session that did not wait for the answer to QUIT: gone or not, or still to go.
        self.unsure: set[Message] = set()
        self.leaving = False
        self.readers: dict[int, Reader] = {}
        self.start()

    def observe(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.failures.append(event)

    def start(self) -> None:
        self.reactor.tcpServers.clear()
        self.service = make_service(stand_in(self.reactor), self.config, lambda: load(self.config, {}, {}))
        self.service.privilegedStartService()
        self.service.startService()
        self.sender = Sender(self.reactor)

    def end(self) -> None:
        self.lose_all()
        self.reactor.wait(self.service.stopService())

    def lose_all(self) -> None:
        for client in (self.sender, *self.readers.values()):
            client.lose()
        self.readers.clear()

    def teardown(self) -> None:
        """What is there at the end is right, too, and nothing broke on the way."""
        try:
            for reader in self.readers.values():
                reader.lose()
            self.readers.clear()
            self.enter(self.reader(0))
        finally:
            self.end()
            self.reactor.stop()
            globalLogPublisher.removeObserver(stand_in(self.observe))
            self.folder.cleanup()
        assert self.failures == []

    @initialize(bodies=st.lists(BODIES, min_size=1, max_size=3))
    def begin(self, bodies: list[bytes]) -> None:
        """There is mail, and somebody reads it."""
        for body in bodies:
            self.deliver(body)
        self.log_in(0)

    # ------------------------------------------------------------ the model

    @property
    def holder(self) -> Reader | None:
        """Who is in the transaction state."""
        return next((reader for reader in self.readers.values() if reader.snapshot is not None), None)

    @property
    def session(self) -> Reader:
        assert self.holder is not None
        return self.holder

    def reader(self, which: int) -> Reader:
        if which not in self.readers:
            self.readers[which] = Reader(self.reactor)
        return self.readers[which]

    def made_up(self, body: bytes) -> Message:
        content = b"Subject: %d\r\n\r\n" % next(self.numbers) + body
        return self.by_content.setdefault(content, Message(content))

    def found(self, text: bytes) -> Message:
        """The message with these octets, which have trace fields before those that were sent."""
        return self.by_content[text[text.index(b"Subject: ") :]]

    def forget(self, message: Message) -> None:
        message.gone = True
        if message in self.messages:
            self.messages.remove(message)

    def enter(self, reader: Reader) -> None:
        """Log in while nobody else is."""
        answer = reader.log_in()
        deadline = monotonic() + PATIENCE
        while self.leaving and answer.startswith(b"-ERR [IN-USE]") and monotonic() < deadline:
            # A removal that nobody waits for keeps the lock until it is done.
            self.reactor.linger()
            answer = reader.log_in()
        assert answer.startswith(b"+OK"), answer
        self.take_snapshot(reader)

    def take_snapshot(self, reader: Reader, unanswered: Message | None = None) -> None:
        """Compare what is there with the model, which learns what it does not know.

        A message whose delivery is not answered yet may be there already.
        """
        sizes = [int(line.split()[1]) for line in reader.multi(b"LIST").splitlines()]
        uids = [line.split()[1] for line in reader.multi(b"UIDL").splitlines()]
        texts = [reader.multi(b"RETR %d" % number) for number in range(1, len(sizes) + 1)]
        assert [len(text) for text in texts] == sizes
        found = [self.found(text) for text in texts]
        for message in self.unsure - set(found):
            self.forget(message)
        self.unsure.clear()
        self.leaving = False
        if unanswered in found:
            self.messages.append(unanswered)
        assert found == self.messages
        for message, text, uid in zip(found, texts, uids, strict=True):
            assert message.octets in (b"", text), "a message has changed"
            assert message.uid in (b"", uid), "a unique-id has changed"
            assert self.by_uid.setdefault(uid, message) is message, "a unique-id was used again"
            assert 1 <= len(uid) <= 70
            message.octets, message.uid = text, uid
        reader.snapshot = found

    @rule(body=BODIES)
    def deliver(self, body: bytes) -> None:
        message = self.made_up(body)
        self.sender.begin(message.content)
        assert self.sender.ask(b".").startswith(b"250 ")
        self.messages.append(message)

    @rule(number=st.integers(2, 5))
    def deliver_together(self, number: int) -> None:
        made = [(self.made_up(b"together\r\n"), Sender(self.reactor)) for _ in range(number)]
        for message, sender in made:
            sender.begin(message.content)
        for _, sender in made:
            sender.send(b".\r\n")
        for message, sender in made:
            assert sender.reply().startswith(b"250 ")
            sender.lose()
            self.messages.append(message)

    # ------------------------------------------------------------ sessions

    @rule(which=BOTH)
    def log_in(self, which: int) -> None:
        """Refused while the other session has the maildrop, or while this one has it already."""
        reader = self.reader(which)
        if reader.snapshot is not None:
            assert reader.ask(b"USER alice@example.org").startswith(b"-ERR")
            assert reader.ask(b"PASS " + PASSWORD.encode()).startswith(b"-ERR")
        elif self.holder is not None:
            assert reader.log_in().startswith(b"-ERR [IN-USE]")
            assert reader.ask(b"STAT").startswith(b"-ERR")
        else:
            self.enter(reader)

    @precondition(lambda self: not logged_in(self) and not self.leaving)
    @rule(body=BODIES)
    def log_in_during_a_delivery(self, body: bytes) -> None:
        reader, message = self.reader(0), self.made_up(body)
        reader.ask(b"USER alice@example.org")
        self.sender.begin(message.content)
        self.sender.send(b".\r\n")
        assert reader.ask(b"PASS " + PASSWORD.encode()).startswith(b"+OK")
        self.take_snapshot(reader, message)
        assert self.sender.reply().startswith(b"250 ")
        if message not in self.messages:
            self.messages.append(message)

    @precondition(lambda self: self.readers)
    @rule(ending=st.sampled_from(["drop", "quit", "quit_and_drop", "time_passes"]), which=BOTH)
    def session_ends(self, ending: str, which: int) -> None:
        getattr(self, ending)(which)

    def drop(self, which: int) -> None:
        """A session that ends without QUIT removes nothing (RFC 1939 section 6)."""
        if reader := self.readers.pop(which, None):
            reader.lose()

    def time_passes(self, _which: int) -> None:
        """Clients that are silent for too long are sent away, and nothing is removed (section 3)."""
        self.reactor.advance(LONG_ENOUGH)
        assert all(client.wire.disconnecting for client in (self.sender, *self.readers.values()))
        self.lose_all()
        self.sender = Sender(self.reactor)

    def quit(self, which: int) -> None:
        """Only this removes, and only what was marked by a session that was logged in."""
        if reader := self.readers.pop(which, None):
            removed = reader.to_be_removed()
            assert reader.ask(b"QUIT").startswith(b"+OK")
            assert reader.wire.disconnecting
            for message in removed:
                self.forget(message)
            reader.lose()

    def quit_and_drop(self, which: int) -> None:
        """Whoever does not wait for the answer cannot know what was removed; the rest stays."""
        if reader := self.readers.pop(which, None):
            marked = reader.to_be_removed()
            self.leaving = self.leaving or bool(marked)
            self.unsure.update(message for message in marked if not message.gone)
            reader.send(b"QUIT\r\n")
            reader.lose()

    # ------------------------------------------------------------ the transaction state

    @precondition(logged_in)
    @rule()
    def totals(self) -> None:
        present = self.session.present()
        octets = sum(len(message.octets) for message in present.values())
        assert self.session.ask(b"STAT").split()[:3] == [b"+OK", b"%d" % len(present), b"%d" % octets]
        sizes = [b"%d %d\r\n" % (number, len(message.octets)) for number, message in present.items()]
        assert self.session.multi(b"LIST") == b"".join(sizes)
        uids = [b"%d %s\r\n" % (number, message.uid) for number, message in present.items()]
        assert self.session.multi(b"UIDL") == b"".join(uids)
        for number in range(len(self.session.snapshot or ()) + 2):
            self.check_one(number)

    def check_one(self, number: int) -> None:
        message = self.session.present().get(number)
        size, uid = self.session.ask(b"LIST %d" % number), self.session.ask(b"UIDL %d" % number)
        if message is None:
            assert size[:4] == uid[:4] == b"-ERR"
        else:
            assert size == b"+OK %d %d" % (number, len(message.octets))
            assert uid == b"+OK %d %s" % (number, message.uid)

    @precondition(logged_in)
    @rule(which=MANY, lines=st.none() | st.integers(0, 3))
    def read(self, which: int, lines: int | None) -> None:
        """RETR, or TOP with a number of lines."""
        self.check_text(self.session.some_number(which), lines)

    @precondition(logged_in)
    @rule()
    def read_all(self) -> None:
        for number in self.session.present():
            self.check_text(number, None)

    def check_text(self, number: int, lines: int | None) -> None:
        """What has vanished is -ERR, and not for now only; all else is there to the octet."""
        message = self.session.present().get(number)
        text = self.session.multi(b"RETR %d" % number if lines is None else b"TOP %d %d" % (number, lines))
        if message is None or message.gone:
            assert text.startswith(b"-ERR ")
            assert not text.startswith(b"-ERR [")
        elif lines is None:
            assert text == message.octets
        else:
            head, _, body = message.octets.partition(b"\r\n\r\n")
            assert text == head + b"\r\n\r\n" + b"".join(body.splitlines(keepends=True)[:lines])

    @precondition(logged_in)
    @rule(some=st.sets(MANY, max_size=4))
    def mark(self, some: set[int]) -> None:
        for number in [self.session.some_number(which) for which in sorted(some)]:
            answer = self.session.ask(b"DELE %d" % number)
            if number in self.session.present():
                assert answer.startswith(b"+OK")
                self.session.marked.add(number)
            else:
                assert answer.startswith(b"-ERR")

    @precondition(logged_in)
    @rule(some=st.sets(MANY, max_size=4), ending=st.sampled_from(["quit", "quit", "quit_and_drop", "drop"]))
    def mark_and_end(self, some: set[int], ending: str) -> None:
        """What sessions are for, so that it happens often."""
        self.mark(some)
        self.session_ends(
            ending, next(each for each, reader in self.readers.items() if reader.snapshot is not None)
        )
        self.log_in(0)

    @precondition(logged_in)
    @rule()
    def reset(self) -> None:
        assert self.session.ask(b"RSET").startswith(b"+OK")
        self.session.marked.clear()

    @precondition(lambda self: "memory" not in self.storage)
    @rule(number=st.integers(0, 3))
    def restart(self, number: int) -> None:
        if number == 0:  # it takes long, so it is seldom
            self.end()
            self.start()


class MemoryMachine(MaildropMachine):
    """The engine for fixtures; its mail lives as long as it does."""

    storage = 'engine = "memory"\n'


class PostgreSQLMachine(MaildropMachine):
    """The engine in a database, with an empty one for each example."""

    def __init__(self) -> None:
        self.storage = f'engine = "postgresql"\nurl = "{shared().url(shared().new_space())}"\n'
        super().__init__()


class MaildirMachine(MaildropMachine):
    """The engine whose files other programs may come to."""

    storage = 'engine = "maildir"\n'

    @property
    def box(self) -> Path:
        return Path(self.folder.name) / "data/mail/example.org/alice"

    def some_file(self, which: int) -> tuple[Path, Message] | None:
        """One of the files of the mailbox, which nobody else is about to remove."""
        files = sorted(path for folder in ("new", "cur") for path in (self.box / folder).iterdir())
        if self.leaving or not files:
            return None
        path = files[which % len(files)]
        return path, self.found(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    @rule(what=st.sampled_from(["removed", "flagged", "flagged", "delivered"]), which=MANY, flags=FLAGS)
    def another_program(self, what: str, which: int, flags: str) -> None:
        if what == "removed":
            self.removed_elsewhere(which)
        elif what == "flagged":
            self.flagged_elsewhere(which, flags)
        else:
            self.delivered_elsewhere()

    def removed_elsewhere(self, which: int) -> None:
        if chosen := self.some_file(which):
            path, message = chosen
            path.unlink()
            self.forget(message)

    def flagged_elsewhere(self, which: int, flags: str) -> None:
        """The file is moved to ``cur/``, or gets another name there."""
        if chosen := self.some_file(which):
            path, _ = chosen
            path.rename(self.box / "cur" / f"{path.name.partition(':')[0]}:{flags}")

    def delivered_elsewhere(self) -> None:
        """With LF line ends and a name of its own, as maildir(5) has it."""
        message = self.made_up(b"from elsewhere\r\n.\r\n")
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        name = f"{seconds}.M{nanoseconds // 1000:06}P{os.getpid()}Q{next(self.numbers)}.elsewhere"
        (self.box / "tmp" / name).write_bytes(message.content.replace(b"\r\n", b"\n"))
        (self.box / "tmp" / name).rename(self.box / "new" / name)
        self.messages.append(message)


SHORT = settings(max_examples=EXAMPLES, stateful_step_count=50, suppress_health_check=[HealthCheck.too_slow])
TestMemory, TestMaildir = MemoryMachine.TestCase, MaildirMachine.TestCase
TestPostgreSQL = pytest.mark.slow(PostgreSQLMachine.TestCase)
TestMemory.settings = TestMaildir.settings = TestPostgreSQL.settings = SHORT
