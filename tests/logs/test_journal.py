"""The journal of messages: what is kept, when it is written, and what is found again."""

import errno
import json
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from mailserver.durable.disk import Disk
from mailserver.durable.rotated import RotatedFiles, paths
from mailserver.events.base import Event, report, stop_observing
from mailserver.events.messages import MessageAccepted, MessageRejected
from mailserver.events.queue import DeliveryFailed, MessageDelivered, QueueUnreadable
from mailserver.logs import journal as module
from mailserver.logs.journal import EVERY, Journal
from mailserver.logs.trace import sentence, trace
from mailserver.mail.address import Address
from mailserver.mail.words import AddressNames
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor

BOB = Address("Bob", "example.org")
EVERYBODY = [Address(f"user{number}", "example.org") for number in range(200)]


def accepted(id_: str, sender: str = "ann@example.org", *recipients: object) -> MessageAccepted:
    return MessageAccepted(
        id=id_, session="s", client="192.0.2.1", account="", sender=f"<{sender}>",
        recipients=AddressNames(recipients or [BOB]), size=7,
    )  # fmt: skip


def failed(id_: str, bounce: str) -> DeliveryFailed:
    return DeliveryFailed(
        id=id_, sender="<ann@example.org>", mailboxes=AddressNames([BOB]), recipients=AddressNames([BOB]),
        reason="550 no \x1b[2J such user", rule="", host="", reply="",
        bounce=bounce, addressee="<ann@example.org>",
    )  # fmt: skip


class Kept:
    """A journal in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trace"
        self.reactor = FakeReactor(held=True)
        files = RotatedFiles(self.folder, Disk(), days=14, max_octets=1 << 20)
        self.journal = Journal(files, stand_in(self.reactor))
        self.journal.open()

    def keep(self, *events: Event) -> None:
        for event in events:
            report(event)
        self.reactor.advance(EVERY)
        self.reactor.run_threads()

    def found(self, what: str, last: int = 20) -> list[tuple[str, list[str]]]:
        return [
            (one.id, [record["event"] for record in one.records])
            for one in trace(self.folder, what, last).messages
        ]


@pytest.fixture
def kept(tmp_path):
    kept = Kept(tmp_path)
    yield kept
    kept.journal.close().close()
    stop_observing(kept.journal)


def test_the_events_of_messages_are_kept(kept: Kept) -> None:
    kept.keep(accepted("1m"), QueueUnreadable(error="no"), failed("1m", "1b"), accepted("1n"))
    (path,) = kept.folder.iterdir()
    assert (path.stat().st_mode & 0o777, kept.folder.stat().st_mode & 0o777) == (0o600, 0o700)
    first, *_ = map(json.loads, path.read_text().splitlines())
    assert isinstance(first.pop("time"), float)
    assert first == {
        "event": "MessageAccepted", "id": "1m", "session": "s", "client": "192.0.2.1", "account": "",
        "sender": "<ann@example.org>", "recipients": ["Bob@example.org"], "size": 7,
    }  # fmt: skip
    assert kept.found("1m") == [("1m", ["MessageAccepted", "DeliveryFailed"])]
    assert kept.found("1x") == []


def test_a_bounce_follows_its_message(kept: Kept) -> None:
    delivered = MessageDelivered(
        id="1b",
        sender="<>",
        mailboxes=AddressNames(["ann@example.org"]),
        recipients=AddressNames([]),
        attempt=1,
    )
    kept.keep(accepted("1m"), failed("1m", "1b"), delivered)
    assert kept.found("1m") == [("1m", ["MessageAccepted", "DeliveryFailed"]), ("1b", ["MessageDelivered"])]
    assert kept.found("1b") == [("1b", ["MessageDelivered"])]


def test_addresses_are_found_in_any_case(kept: Kept) -> None:
    kept.keep(
        accepted("1m"),
        accepted("1n", "bob@example.org", Address("jürgen", "example.org")),
        accepted("1p", "x@example.org", *EVERYBODY),
        accepted("1q", "notbob@example.org", Address("bob", "example.org.example")),
    )
    assert [id_ for id_, _ in kept.found("BOB@example.org")] == ["1m", "1n"]
    assert [id_ for id_, _ in kept.found("JÜRGEN@Example.ORG")] == ["1n"]
    assert [id_ for id_, _ in kept.found("user99@example.org")] == ["1p"]
    assert kept.found("r9@example.org") == []
    one = trace(kept.folder, "bob@example.org", 1)
    assert ([message.id for message in one.messages], one.older) == (["1n"], 1)


def test_nothing_is_written_for_each_event(kept: Kept) -> None:
    for _ in range(1000):
        report(accepted("1m"))
    assert len(kept.reactor.getDelayedCalls()) == 1
    kept.reactor.advance(EVERY)
    assert not kept.folder.exists()
    kept.reactor.run_threads()
    assert len(kept.found("1m")[0][1]) == 1000
    assert kept.reactor.getDelayedCalls() == []


def test_flush_and_close(kept: Kept) -> None:
    kept.reactor.held = False
    report(accepted("1m"))
    kept.journal.flush()
    assert kept.found("1m") and kept.reactor.getDelayedCalls() == []
    report(accepted("1n"))
    with pytest.raises(StopIteration):
        kept.journal.close().send(None)
    report(accepted("1p"))
    assert kept.found("1n") and kept.reactor.getDelayedCalls() == []


def test_a_full_disk_is_reported_once(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, now: float) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept.journal._files, "append", fail)
    with capturedLogs() as events:
        kept.keep(accepted("1m"))
        kept.keep(accepted("1m"))
        monkeypatch.undo()
        kept.keep(accepted("1n"))
    assert [event["log_namespace"] for event in events].count("mailserver.JournalNotWritten") == 1
    assert kept.found("1m") == [] and kept.found("1n") != []


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "MOST", 100)
    return 100


def test_memory_is_bounded(most: int, kept: Kept) -> None:
    for _ in range(most + 10):
        kept.journal({"log_event": accepted("1m"), "log_time": 0.0})
    kept.reactor.advance(EVERY)
    kept.reactor.run_threads()
    assert len(kept.found("1m")[0][1]) == most


def test_without_files(tmp_path: Path) -> None:
    reactor = FakeReactor()
    journal = Journal(None, stand_in(reactor))
    journal.open()
    report(accepted("1m"))
    with pytest.raises(StopIteration):
        journal.close().send(None)
    assert list(tmp_path.iterdir()) == [] and reactor.getDelayedCalls() == []


def test_damaged_lines_are_skipped(kept: Kept) -> None:
    kept.keep(accepted("1m"))
    (path,) = kept.folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(b'{"id":"1m"\n[]\n{"id":"1m","time":"x"}\n\xff\n\n' + whole + whole[:40])
    assert kept.found("1m") == [("1m", ["MessageAccepted"])]


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            vars(accepted("1m")),
            "accepted: <ann@example.org> to <Bob@example.org> (client 192.0.2.1, 7 octets)",
        ),
        ({"event": "Nonsense", "id": "1m", "what": "ä"}, 'Nonsense: {"what": "ä"}'),
        ({"event": "MessageAccepted", "id": "1m", "size": 7}, 'MessageAccepted: {"size": 7}'),
    ],
)
def test_sentences(record: dict[str, object], text: str) -> None:
    assert sentence({"event": "MessageAccepted", **record}) == text


def test_which_events_are_of_messages() -> None:
    assert MessageAccepted.of_message and MessageRejected.of_message and DeliveryFailed.of_message
    assert not QueueUnreadable.of_message


# ------------------------------------------------------------ files

DAY = 86400.0


def test_rotation_by_size_and_by_day(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    files = RotatedFiles(folder, Disk(), days=3, max_octets=1000, max_file=100)
    now = 1_700_000_000.0
    for number in range(5):
        files.append(b"%04d" % number * 15 + b"\n", now)
    names = [path.name for path in sorted(paths(folder))]
    assert names == ["2023-11-14.000", "2023-11-14.001", "2023-11-14.002"]
    files.append(b"next day\n", now + DAY)
    files.append(b"clock went back\n", now)
    assert (folder / "2023-11-15.000").read_bytes() == b"next day\nclock went back\n"
    # another process goes on with the same file, after half a line
    (folder / "2023-11-15.000").write_bytes(b"half a li")
    RotatedFiles(folder, Disk(), days=3, max_octets=1000).append(b"x\n", now + DAY)
    assert (folder / "2023-11-15.000").read_bytes() == b"half a li\nx\n"
    (folder / "notes").touch()
    files.append(b"late\n", now + 5 * DAY)
    assert sorted(path.name for path in folder.iterdir()) == ["2023-11-19.000", "notes"]


def test_the_size_of_all_files_is_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    files = RotatedFiles(folder, Disk(), days=3, max_octets=1000, max_file=200)
    for _ in range(100):
        files.append(b"x" * 49 + b"\n", 0.0)
        assert sum(path.stat().st_size for path in paths(folder)) <= 1000
    assert len(paths(folder)) == 5 and (folder / "1970-01-01.024").exists()
    # the newest one is half full, and another process goes on with it
    (folder / "1970-01-01.024").write_bytes(b"x" * 100)
    RotatedFiles(folder, Disk(), days=3, max_octets=1000, max_file=200).append(b"y\n", 0.0)
    assert len(paths(folder)) == 5
