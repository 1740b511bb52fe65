"""mbox files as sources and as exports."""

import mailbox
from contextlib import nullcontext
from pathlib import Path

import pytest

from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.migration.maildir import MaildirSource
from mailserver.migration.mbox import MboxSource, from_date
from mailserver.migration.mbox_export import MboxExport
from tests.support.migration.boxes import contents, transferred, write_maildir

ASCTIME = b"From ann@example.org Tue Nov 14 22:13:20 2023\n"


@pytest.mark.parametrize(
    ("line", "when"),
    [
        (ASCTIME, 1_700_000_000),
        (b"From - Tue Nov 14 22:13:20 2023", 1_700_000_000),
        (b"From ann@example.org Tue Nov 14 23:13:20 2023 +0100\n", 1_700_000_000),
        (b"From ann@example.org Tue Nov 14 21:13:20 -0100 2023", 1_700_000_000),
        (b"From ann@example.org  Tue Nov 14 22:13:20 UTC 2023", 1_700_000_000),
        (b"From \"a b\"@example.org Tue Nov  4 22:13 2023", 1_699_135_980),
        (b"From ann@example.org Tue Nov 14 22:13:20 2023 remote from host", 1_700_000_000),
        (b"From Tue Nov 14 22:13:20 2023", 1_700_000_000),
        (b"From the beginning, it was 10:00", None),
        (b"From ann@example.org Tue Foo 14 22:13:20 2023", None),
        (b">From ann@example.org Tue Nov 14 22:13:20 2023", None),
        (b"From: ann@example.org", None),
    ],
)  # fmt: skip
def test_from_lines(line: bytes, when: int | None) -> None:
    assert from_date(line) == when


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (b"", []),
        (ASCTIME + b"Subject: a\n\nb\n\n", [b"Subject: a\n\nb\n"]),
        (ASCTIME + b"Subject: a\n\nb", [b"Subject: a\n\nb"]),
        (ASCTIME + b"\n", [b""]),
        (ASCTIME + b"a\n\n" + ASCTIME + b"b\n\n", [b"a\n", b"b\n"]),
        (ASCTIME + b"a\n" + ASCTIME + b"b\n", [b"a\n", b"b\n"]),
        (ASCTIME + b"a\n\n\n\n", [b"a\n\n\n"]),
        (ASCTIME + b"\n>From a\n>>From b\n> From c\nx>From\n\n", [b"\nFrom a\n>From b\n> From c\nx>From\n"]),
        (ASCTIME + b"\nFrom here on\n\n", [b"\nFrom here on\n"]),
        ((ASCTIME + b"a\n\n").replace(b"\n", b"\r\n"), [b"a\r\n"]),
        (ASCTIME + b"x" * 70_000 + b"From \n\n", [b"x" * 70_000 + b"From \n"]),
    ],
)  # fmt: skip
def test_messages(tmp_path: Path, text: bytes, messages: list[bytes]) -> None:
    (tmp_path / "mbox").write_bytes(text)
    done = transferred(MboxSource(tmp_path / "mbox"), tmp_path / "new")
    assert (done.problems, done.copied) == ([], len(messages))
    assert list(contents(tmp_path / "new").values()) == messages
    for file in (tmp_path / "new/new").iterdir():
        assert file.stat().st_mtime == 1_700_000_000
        data = file.read_bytes()
        crlf = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        assert f",S={len(data)},W={len(crlf)}" in file.name


def test_flags_and_unique_ids(tmp_path: Path) -> None:
    heads = [b"Status: RO\nX-Status: AF\n", b"Status: O\n", b"X-UIDL: ab!c\n", b"Subject: x\n\nStatus: R\n"]
    (tmp_path / "mbox").write_bytes(b"".join(ASCTIME + head + b"\ntext\n\n" for head in heads))
    assert transferred(MboxSource(tmp_path / "mbox"), tmp_path / "new").kept == 1
    places = sorted(
        (name[:3], name.partition(":")[2], "UIDL=ab!c" in name) for name in contents(tmp_path / "new")
    )
    assert places == [("cur", "2,", False), ("cur", "2,FRS", False), ("new", "", False), ("new", "", True)]


def test_again_after_messages_were_removed_and_added(tmp_path: Path) -> None:
    one, two, three = (ASCTIME + b"Subject: %d\n\ntext\n\n" % number for number in range(3))
    path = tmp_path / "mbox"
    path.write_bytes(one + two + two)
    assert transferred(MboxSource(path), tmp_path / "new").copied == 3
    path.write_bytes(two + two + three)
    again = transferred(MboxSource(path), tmp_path / "new")
    assert (again.copied, again.skipped, again.problems) == (1, 2, [])


def test_what_is_no_mbox(tmp_path: Path) -> None:
    (tmp_path / "mbox").write_bytes(b"Subject: a message\n\n")
    with pytest.raises(StorageError, match="is not an mbox"):
        MboxSource(tmp_path / "mbox")


TEXTS = {
    "new/1700000000.M1P1.host": b"Return-Path: <bob@example.org>\r\nSubject: a\r\n\r\nFrom b\r\n>From c\r\n",
    "cur/1700000001.M1P1.host:2,S": b"Subject: no line end\r\n\r\nb",
    "cur/1700000002.M1P1.host:2,": b"",
    "cur/1700000003.M1P1.host:2,": b"Subject: LF\n\n\n\nFrom bob@example.org Tue Nov 14 22:13:20 2023\n\n",
}


def test_an_export_is_what_others_read(tmp_path: Path) -> None:
    box = write_maildir(tmp_path / "box", TEXTS, when=1_700_000_000)
    path = tmp_path / "mbox"
    done = MboxExport(MaildirSource(box), path, Disk(), nullcontext).run(lambda done, total: None)
    assert (done.copied, done.problems) == (4, [])
    unix = [text.replace(b"\r\n", b"\n") for text in TEXTS.values()]
    unix[1] += b"\n"
    assert transferred(MboxSource(path), tmp_path / "new").problems == []
    assert list(contents(tmp_path / "new").values()) == unix
    read = mailbox.mbox(path, create=False)  # which does not remove quotes
    quoted = [">From b\n>>From c\n", "b\n", "", unix[3][13:].replace(b"From", b">From").decode()]
    assert [message.get_payload() for message in read] == quoted
    assert path.read_bytes().startswith(b"From bob@example.org Tue Nov 14 22:13:20 2023\n")
    assert [file.name for file in tmp_path.iterdir() if "part" in file.name] == []
