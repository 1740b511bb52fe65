import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import StorageError
from mailserver.store.content import Copy, open_message, with_crlf
from tests.store.messages import Content, as_sent

text = st.text("\r\nab", max_size=40).map(str.encode)


@given(text)
def test_bare_line_feeds_become_crlf_wherever_the_pieces_are_cut(data):
    expected = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    in_two = [[data[:place], data[place:]] for place in range(len(data) + 1)]
    octet_by_octet = [data[place : place + 1] for place in range(len(data))]
    for pieces in [*in_two, octet_by_octet]:
        assert b"".join(with_crlf(pieces)) == expected


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
