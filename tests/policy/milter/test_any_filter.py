"""A filter that sends anything at any step: the message gets a verdict, and the next one is filtered."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from mailserver.mail.verdict import MAIL_SYSTEM, Accept, Defer, Refuse
from mailserver.reception.checks import ACCEPTED
from tests.support.milter import CONTINUE, answer, indexed, options
from tests.support.milter_stream import FilteredClient

FAILED = Defer(MAIL_SYSTEM, "not now", "policy.milter_default")
SHORT = st.binary(max_size=12)
NAMES = st.sampled_from([b"Subject", b"X-A", b"x-a", b"", b"a b"])
FIELDS = st.builds(lambda name, value: name + b"\0" + value + b"\0", NAMES, SHORT)
PACKETS = st.one_of(
    st.just(CONTINUE),
    st.builds(answer, st.sampled_from([bytes([octet]) for octet in b"acdfhimpqrsty4+-be?"]), SHORT),
    st.builds(answer, st.sampled_from([b"a", b"d", b"p", b"q", b"r", b"s", b"t"])),
    st.builds(answer, st.just(b"h"), FIELDS),
    st.builds(indexed, st.sampled_from([b"i", b"m"]), st.integers(0, 2**32 - 1), NAMES, SHORT),
    st.builds(answer, st.just(b"y"), st.sampled_from([b"550 5.7.1 no\0", b"450 later\0", b"250 ok\0"])),
    SHORT,
)
REPLIES = st.lists(PACKETS, max_size=4).map(b"".join)
STEPS = st.sampled_from([bytes([octet]) for octet in b"CHMRTLNBE"])
SCRIPTS = st.dictionaries(STEPS, REPLIES | st.none(), max_size=4)
OPTIONS = st.builds(options, steps=st.integers(0, 0x1FFFFF)) | SHORT


def is_verdict(verdict: Any) -> bool:
    # A filter that never answers ends by the time limit of the stream.
    return isinstance(verdict, Accept | Defer | Refuse | Deferred)


@given(SCRIPTS, OPTIONS, st.booleans(), st.sampled_from([None, FAILED]))
def test_any_filter(script: dict[bytes, Any], first: bytes, whole: bool, failed: Any) -> None:
    filtered = FilteredClient([{**script, b"O": first}], failed, whole=whole)
    verdict = filtered.send()
    assert is_verdict(verdict)
    if isinstance(verdict, Accept) and verdict.changed is not None:
        assert b"".join(verdict.changed.chunks()).endswith(b"\r\nbody\r\n")
    if isinstance(verdict, Defer) and verdict != FAILED:
        assert verdict.key == "policy.milter[1]"
    if not isinstance(verdict, Deferred):
        filtered.checks.session_ended("one")
        assert not any(stream.is_open for stream in filtered.streams)
        filtered.scripts[0].clear()
        assert filtered.send() is ACCEPTED
