import errno
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import StorageError
from mailserver.store import content
from mailserver.store.content import LARGE_CHUNK, Copy, large_pieces, open_message, with_crlf
from tests.support.store.messages import Content, as_sent

text = st.text("\r\nab", max_size=40).map(str.encode)


@given(text)
def test_bare_line_feeds_become_crlf_wherever_the_pieces_are_cut(data):
    expected = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    in_two = [[data[:place], data[place:]] for place in range(len(data) + 1)]
    octet_by_octet = [data[place : place + 1] for place in range(len(data))]
    for pieces in [*in_two, octet_by_octet]:
        assert b"".join(with_crlf(pieces)) == expected


def test_an_announced_wait_is_handed_on():
    assert list(with_crlf([b"", b"a\r", b"", b"\nb\n"])) == [b"", b"a", b"", b"\r\nb\r\n"]


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


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this system cannot read without waiting")
@pytest.mark.parametrize(
    ("answers", "lengths"),
    [
        ([LARGE_CHUNK], [LARGE_CHUNK, LARGE_CHUNK, 7]),
        ([AWAY], [0, LARGE_CHUNK, 0, LARGE_CHUNK, 0, 7, 0]),
        ([UNABLE], [0, LARGE_CHUNK, 0, LARGE_CHUNK, 0, 7, 0]),
        ([4096, AWAY, LARGE_CHUNK], [4096, 0, LARGE_CHUNK, LARGE_CHUNK - 4089]),
    ],
    ids=["cached", "not cached", "cannot tell", "in part"],
)
def test_what_has_to_be_waited_for_is_announced(tmp_path, monkeypatch, answers, lengths):
    data = os.urandom(2 * LARGE_CHUNK + 7)
    (tmp_path / "file").write_bytes(data)
    monkeypatch.setattr(os, "preadv", PageCache(answers))
    with open_message(str(tmp_path / "file")) as file:
        pieces = list(large_pieces(file))
        monkeypatch.setattr(content, "_NOWAIT", 0)
        waited_for = list(large_pieces(file))
    assert b"".join(pieces) == data
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
