"""Forged results are removed, and nothing else, however the message arrives."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.policy.dkim.head import MAX_HEAD
from mailserver.policy.results_filter import ResultsFilter

HOST = "mail.example.org"
OURS = b"Authentication-Results: mail.example.org; spf=pass\r\n"
FOLDED = b"authentication-results :\r\n\t(x) MAIL.example.org\r\n ; dmarc=pass\r\n"
THEIRS = b"Authentication-Results: mx.example.net; spf=pass\r\n\tsmtp.mailfrom=mail.example.org\r\n"
SUBJECT = b"Subject: x\r\n"
PIECES = [OURS, FOLDED, THEIRS, SUBJECT, b"X-Long: " + b"y" * 3000 + b"\r\n"]


class Reading(ResultsFilter):
    """Keeps what it reads."""

    def __init__(self) -> None:
        super().__init__(HOST)
        self.heads: list[bytes] = []
        self.body = b""

    def read_head(self, head: bytes) -> None:
        self.heads.append(head)

    def read_body(self, data: bytes) -> None:
        self.body += data


def passed(reading: ResultsFilter, message: bytes, cuts: list[int]) -> bytes:
    places = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    stored = [reading.feed(message[at:end]) for at, end in pairwise(places)]
    return b"".join([*stored, reading.finish()])


@given(
    st.lists(st.sampled_from(PIECES), max_size=6),
    st.sampled_from([b"", b"\r\n", b"\r\nbody\r\n" + OURS, b"\r\n\r\n\r\nbody"]),
    st.lists(st.integers(0, 4000), max_size=20),
)
def test_any_message_in_any_pieces(fields: list[bytes], rest: bytes, cuts: list[int]) -> None:
    head = b"".join(fields)
    reading = Reading()
    stored = passed(reading, head + rest, cuts)
    kept = b"".join(field for field in fields if field not in (OURS, FOLDED))
    assert stored == kept + rest
    assert reading.heads == [kept]
    assert reading.body == rest[2:]


@pytest.mark.parametrize("pieces", [False, True])
def test_a_large_header(pieces: bool) -> None:
    """If it comes in pieces, all results are removed, since not all of it is kept."""
    filler = b"X-Filler: " + b"x" * 980 + b"\r\n"
    head, body = OURS + filler * 300 + THEIRS + FOLDED + SUBJECT, b"\r\n" + OURS
    reading = Reading()
    cuts = list(range(0, len(head), 1000)) if pieces else []
    stored = passed(reading, head + body, cuts)
    assert stored == filler * 300 + (b"" if pieces else THEIRS) + SUBJECT + body
    [seen] = reading.heads
    assert len(seen) > MAX_HEAD
    assert reading.body == (b"" if pieces else OURS)


@pytest.mark.parametrize("message", [b"X: y\r\n" * 5000, b"x" * 30_000])
def test_octet_by_octet_takes_linear_time(message: bytes) -> None:
    def seconds(octets: bytes) -> float:
        reading = Reading()
        began = time.process_time()
        for at in range(len(octets)):
            reading.feed(octets[at : at + 1])
        reading.finish()
        return time.process_time() - began

    assert min(seconds(message * 4) for _ in range(2)) < 12 * max(seconds(message), 0.01)
