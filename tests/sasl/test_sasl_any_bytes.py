"""Any octets to any mechanism in any state: it goes on or ends, and never raises."""

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.sasl.exchange import Exchange, Finished, Rejected, Send
from mailserver.sasl.mechanisms import MECHANISMS, Channel
from mailserver.sasl.steps import Denied, FetchKeys, FetchSecret, Granted, Reason, ScramKeys
from tests.support.runs import examples

CHANNEL = Channel(
    "mail.example.org",
    secure=True,
    binding=lambda kind: b"data" if kind == "tls-exporter" else None,
    certificate_names=lambda: ("tim@example.org",),
    nonce=lambda: "nonce",
)
# What mechanisms are made of, so that some get further than the first step.
WHOLE = [
    b"\0tim\0secret", b"tim", b"secret", b"tim " + b"0" * 32, b"tim@example.org",
    b"n,,n=tim,r=abc", b"y,a=kurt,n=t=2C=3D,r=abc,x=1", b"p=tls-exporter,,n=tim,r=abc",
    b"p=tls-unique,,n=tim,r=abc",
    b"c=biws,r=abcnonce,p=" + base64.b64encode(bytes(32)),
    b"c=" + base64.b64encode(b"p=tls-exporter,,data") + b",r=abcnonce,p=" + base64.b64encode(bytes(20)),
    b"user=tim\1auth=Bearer token\1\1", b"n,a=tim,\1auth=Bearer token\1\1", b"n,,\1auth=\1\1", b"\1",
]  # fmt: skip
PARTS = [
    *(b"\0", b"\1", b",", b"=", b"=2C", b"n,,", b"y,,", b"p=tls-exporter,,", b"n=", b"r=", b"abc", b"nonce"),
    *(b"m=1", b"c=biws", b"p=", b"AAAA", b"auth=Bearer ", b"user=", b"\xff", "\u00ad".encode(), b"tim", b" "),
]
messages = st.sampled_from(WHOLE) | st.binary() | st.lists(st.sampled_from(PARTS)).map(b"".join)
lines = (
    messages.map(base64.b64encode)
    | st.sampled_from([b"*", b"=", b"", b"AAAA" * 3072, b"AAAA" * 3073])
    | st.binary()
)
answers = st.sampled_from(["good", "bad", "down"])

KEYS = {
    name: ScramKeys(b"salt", 4096, bytes(size), bytes(size)) for name, size in (("sha1", 20), ("sha256", 32))
}


def answer(question: object, kind: str) -> object:
    if kind == "down":
        return Denied(Reason.TEMPORARY)
    if isinstance(question, FetchKeys):
        return KEYS[question.hash_name]
    if isinstance(question, FetchSecret):
        return "secret" if kind == "good" else None
    return Granted("tim@example.org") if kind == "good" else Denied()


@settings(max_examples=examples(10))
@given(
    st.sampled_from(sorted(MECHANISMS)),
    st.none() | lines,
    st.lists(st.tuples(lines, answers), min_size=1, max_size=6),
    answers,
)
def test_any_octets(name: str, initial: bytes | None, said: list[tuple[bytes, str]], first: str) -> None:
    exchange = Exchange(MECHANISMS[name], CHANNEL)
    outcome = exchange.begin(initial)
    over = False
    for line, kind in [(None, first), *said]:
        if line is not None:
            outcome = exchange.line(line)
        while not isinstance(outcome, Send | Finished | Rejected):
            assert not over
            outcome = exchange.answer(answer(outcome, kind))
        if isinstance(outcome, Send):
            assert not over
            base64.b64decode(outcome.line, validate=True)
        elif over:
            assert outcome in (Rejected(Reason.MALFORMED), Rejected(Reason.CANCELLED))
        else:
            over = True


@settings(max_examples=examples(3))
@given(st.sampled_from(sorted(MECHANISMS)), st.none() | lines, st.lists(lines, max_size=4))
def test_lines_out_of_turn(name: str, initial: bytes | None, said: list[bytes]) -> None:
    exchange = Exchange(MECHANISMS[name], CHANNEL)
    outcome = exchange.begin(initial)
    for line in said:
        asked = not isinstance(outcome, Send | Finished | Rejected)
        outcome = exchange.line(line)
        assert not asked or isinstance(outcome, Rejected)
