import errno
import os
import re
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import StorageError
from mailserver.store import content, measure
from mailserver.store.content import LARGE_CHUNK, Copy, CRLFPieces, open_message, with_crlf
from tests.support.store.messages import ALICE, Content, as_sent, deliver

text = st.text("\r\nab", max_size=40).map(str.encode)


@given(text)
def test_bare_line_feeds_become_crlf_wherever_the_pieces_are_cut(data):
    expected = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    in_two = [[data[:place], data[place:]] for place in range(len(data) + 1)]
    octet_by_octet = [data[place : place + 1] for place in range(len(data))]
    for pieces in [*in_two, octet_by_octet]:
        crlf = CRLFPieces()
        assert b"".join([*map(crlf.feed, pieces), crlf.end()]) == expected
    assert with_crlf(data) == expected


@given(text, st.integers(1, 5))
def test_they_are_counted_as_they_will_be_sent(data, chunk):
    with tempfile.TemporaryFile(buffering=0) as file, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(measure, "CHUNK", chunk)
        file.write(data)
        assert measure._count(file.fileno(), len(data)) == (
            len(with_crlf(data)),
            data[-1:],
            data.isascii(),
        )


class PageCache:
    """Stands in for ``os.preadv``; each answer says how many octets are there, or what goes wrong."""

    def __init__(self, answers):
        self.answers = answers

    def __call__(self, descriptor, buffers, offset, flags):
        assert flags == os.RWF_NOWAIT
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        data = os.pread(descriptor, min(answer, len(buffers[0])), offset)
        buffers[0][: len(data)] = data
        return len(data)


AWAY = BlockingIOError(errno.EAGAIN, "not there yet")
UNABLE = OSError(errno.EOPNOTSUPP, "never heard of it")


def read(reader):
    """All pieces, with an empty one for each that could not be had without waiting."""
    pieces = []
    while True:
        piece = reader.read_nowait()
        if piece is None:
            pieces.append(b"")
            piece = reader.read()
        if not piece:
            reader.close()
            reader.close()
            return pieces
        pieces.append(piece)


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this system cannot read without waiting")
@pytest.mark.parametrize(
    ("answers", "lengths"),
    [
        ([LARGE_CHUNK], [0, LARGE_CHUNK, LARGE_CHUNK, 7]),
        ([AWAY], [0, LARGE_CHUNK, 0, LARGE_CHUNK, 0, 7, 0]),
        ([UNABLE], [0, LARGE_CHUNK, 0, LARGE_CHUNK, 0, 7, 0]),
        ([4096, AWAY, LARGE_CHUNK], [0, LARGE_CHUNK, 4096, 0, LARGE_CHUNK - 4089]),
    ],
    ids=["cached", "not cached", "cannot tell", "in part"],
)
def test_what_has_to_be_waited_for_is_not_read_at_once(maildirs, monkeypatch, answers, lengths):
    data = b"x" * (2 * LARGE_CHUNK + 7)
    deliver(maildirs, data)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    message = maildirs.wait(drop.read(0))
    drop.release()
    monkeypatch.setattr(os, "preadv", PageCache(answers))
    pieces = read(message.open())
    monkeypatch.setattr(content, "_NOWAIT", 0)
    waited_for = read(message.open())
    assert b"".join(pieces) == b"".join(waited_for) == data
    assert list(map(len, pieces)) == lengths
    assert [len(piece) for piece in waited_for] == [0, LARGE_CHUNK, 0, LARGE_CHUNK, 0, 7, 0]


@given(text, text, st.integers(1, 5))
def test_a_copy_knows_its_sizes(head, data, piece):
    copy = Copy(head, Content(data, piece))
    for _ in range(2):
        assert b"".join(copy.chunks()) == head + data
        assert (copy.octets, copy.sent) == (len(head + data), as_sent(head + data))


def test_only_a_regular_file_is_a_message(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StorageError, match="not a file"):
        open_message(str(tmp_path / "fifo"))
