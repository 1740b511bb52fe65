"""The canonical forms of a body, whatever the chunks it arrives in."""

import hashlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.policy.dkim.body import BodyForm, BodyHashes
from tests.support.dkim import in_chunks

SIMPLE, RELAXED = BodyForm(relaxed=False), BodyForm(relaxed=True)


def hashes(chunks: list[bytes], *forms: BodyForm) -> dict[BodyForm, bytes]:
    bodies = BodyHashes(forms)
    for chunk in chunks:
        bodies.feed(chunk)
    return bodies.finish()


def canonical(body: bytes, relaxed: bool) -> bytes:
    """The canonical form in the words of RFC 6376 section 3.4, on the whole body."""
    if relaxed:
        body = re.sub(rb"[ \t]+", b" ", re.sub(rb"[ \t]+(?=\r\n|\Z)", b"", body))
    body = re.sub(rb"(?<!\r\n)(\r\n)*\Z", b"", body, count=1) if not re.fullmatch(rb"(\r\n)*", body) else b""
    return body + b"\r\n" if body or not relaxed else b""


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        # the example of section 3.4.5
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n\r\n", b"\r\n", b""),
        (b" \t\r\n \r\n", b" \t\r\n \r\n", b""),
        (b" ", b" \r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"a \t", b"a \t\r\n", b"a\r\n"),
        (b"\r\n\r\na", b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b"a\r", b"a\r\r\n", b"a\r\r\n"),
        (b"a \r", b"a \r\r\n", b"a \r\r\n"),
        (b"a\n\r\n\r\n", b"a\n\r\n", b"a\n\r\n"),
        (b"\n\r\n", b"\n\r\n", b"\n\r\n"),
        (b"a\r\r\n\r\n", b"a\r\r\n", b"a\r\r\n"),
        (b"\r\n\n\r\n\r\n", b"\r\n\n\r\n", b"\r\n\n\r\n"),
        (b"a\t\tb\r\n", b"a\t\tb\r\n", b"a b\r\n"),
        (b"\xff \xe4\r\n", b"\xff \xe4\r\n", b"\xff \xe4\r\n"),
    ],
)
def test_forms(body, simple, relaxed):
    for cut in range(len(body) + 1):
        found = hashes([body[:cut], body[cut:]], SIMPLE, RELAXED)
        assert found[SIMPLE] == hashlib.sha256(simple).digest(), cut
        assert found[RELAXED] == hashlib.sha256(relaxed).digest(), cut


@given(
    st.lists(st.sampled_from([b" ", b"\t", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"a", b"\xff"])).map(b"".join),
    st.lists(st.integers(0, 40)),
    st.integers(0, 30),
)
def test_chunks_do_not_matter(body, cuts, length):
    forms = [BodyForm(relaxed, limit) for relaxed in (False, True) for limit in (None, 0, length)]
    found = hashes(in_chunks(body, cuts), *forms)
    for form in forms:
        whole = canonical(body, form.relaxed)
        if form.length is not None and form.length > len(whole):
            assert form not in found
        else:
            assert found[form] == hashlib.sha256(whole[: form.length]).digest()


@pytest.mark.parametrize("unit", [b"\r\n", b" ", b" \r\n", b"\t", b"\r", b"\n", b"a \t", b"\n\r"])
def test_the_time_grows_with_the_body_only(unit):
    """Chunks of any size: each octet is looked at a few times, however long a run of blanks or lines is."""
    chunk = unit * (4096 // len(unit))

    def seconds(chunks: int) -> float:
        begin = time.process_time()
        hashes([chunk] * chunks, SIMPLE, RELAXED)
        return time.process_time() - begin

    seconds(10)
    few, many = min(seconds(100) for _ in range(3)), min(seconds(800) for _ in range(3))
    assert many < 24 * few + 0.05
