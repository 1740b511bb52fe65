"""Whatever strangers write: the evaluator raises nothing, asks little, and does not take long."""

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Address
from mailserver.policy.questions import PolicyQuestion, PolicyReply
from mailserver.policy.spf.evaluator import evaluate
from mailserver.policy.spf.record import MAX_RECORD
from mailserver.policy.spf.values import SPFRequest, SPFResult

RESULTS = {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}
MOST = 150  # questions: 10 terms with 10 hosts or names each, the records, the explanation
SENDER = Address("some.body", "a.example")


def run(request: SPFRequest, answer: Callable[[PolicyQuestion], PolicyReply]) -> tuple[SPFResult, int]:
    """The result, and the number of questions; what must hold in any case does."""
    steps = evaluate(request)
    asked = set()
    try:
        (question,) = next(steps)
        while True:
            assert question not in asked
            assert question.name.isascii() and question.name.isprintable()
            asked.add(question)
            (question,) = steps.send({question: answer(question)})
    except StopIteration as end:
        result: SPFResult = end.value
    assert result.result in RESULTS
    for text in (result.mechanism, result.explanation, result.problem):
        assert text.isprintable()
    assert len(asked) <= MOST
    return result, len(asked)


def always(record: bytes, *addresses: str) -> Callable[[PolicyQuestion], PolicyReply]:
    return lambda question: PolicyReply((record,) if question.kind == "TXT" else addresses)


anything = st.text(st.characters(), max_size=300)
targets = st.sampled_from(
    ["a.example", "b.example", "%{d}", "x.%{o}", "%{l1r}.%{i}", "%{S-}", "%{p}", "a..example"]
)
hosts = st.sampled_from(["a.example", "x.a.example", "b.example", ".", "\\.example", "é.example"]) | anything
terms = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(["a", "mx", "~ptr", "include", "exists", "-include"]), targets),
    st.sampled_from(["?a", "mx", "-ptr", "-all", "~a/8", "mx//0", "-ip4:10.0.0.0/8", "ip6:::/1"]),
)
records = st.builds(
    lambda mechanisms, target: f"v=spf1 {' '.join(mechanisms)} redirect={target} exp={target}".encode(),
    st.lists(terms, max_size=9),
    targets,
)
answers = {
    "A": st.integers(0, 2**32 - 1).map(lambda number: str(IPv4Address(number))) | st.just("192.0.2.1"),
    "AAAA": st.integers(0, 2**128 - 1).map(lambda number: str(IPv6Address(number))) | st.just("2001:db8::1"),
    "MX": hosts,
    "PTR": hosts,
    "TXT": records,
}


@given(
    st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"]),
    st.builds(Address, st.just("some.body") | anything, st.just("a.example")),
    st.data(),
)
def test_any_answers(ip, sender, data) -> None:
    def answer(question: PolicyQuestion) -> PolicyReply:
        many = 1 if question.kind == "TXT" else 12
        found = data.draw(st.lists(answers[question.kind], min_size=1, max_size=many))
        void = PolicyReply(failed=data.draw(st.booleans()))
        return data.draw(st.sampled_from([PolicyReply(tuple(found))] * 9 + [void]))

    run(SPFRequest(ip=ip, helo="x.example", reverse_path=sender), answer)


@given(anything, hosts, st.none() | st.builds(Address, anything, hosts))
def test_any_request(ip, helo, sender) -> None:
    answer = always(b"v=spf1 exists:%{h} -a:%{l}.%{o} -all", "192.0.2.1")
    for address in (ip, "192.0.2.1"):
        run(SPFRequest(ip=address, helo=helo, reverse_path=sender), answer)


@given(st.binary(max_size=300))
def test_any_record(octets) -> None:
    for text in (octets, b"v=spf1 " + octets, b"v=spf1 a:" + octets):
        run(SPFRequest(ip="192.0.2.1", helo="x.example", reverse_path=SENDER), always(text))


PIECES = [
    "%{S1r-}",
    "a/",
    "/",
    "x.",
    "%",
    " a",
    "%{s}%{s}.b a:",
    "-",
    "9",
    " ip6:::1/9",
    " x=",
    ".b",
    "%{d",
    "}",
]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4))
def test_long_records_take_no_time(pieces) -> None:
    """Nothing takes more than linear time; a second is far more than that needs."""
    record = b"v=spf1 a:" + ("".join(pieces) * MAX_RECORD).encode()
    record = record[: MAX_RECORD - 2] + b".b"
    begin = time.process_time()
    run(
        SPFRequest(ip="2001:db8::1", helo="x.example", reverse_path=Address("-" * 255, "x.example")),
        always(record, "2001:db8::9"),
    )
    assert time.process_time() - begin < 1.0


def test_a_record_that_is_too_long() -> None:
    for length, expected in ((MAX_RECORD, "fail"), (MAX_RECORD + 1, "permerror")):
        record = b"v=spf1 -all".ljust(length)
        result, _ = run(SPFRequest(ip="192.0.2.1", helo="x.example", reverse_path=SENDER), always(record))
        assert result.result == expected


def test_each_limit_together() -> None:
    """Ten terms with ten hosts each: the most questions that a record can cause."""
    record = b"v=spf1 " + b" ".join(b"mx:%d.example" % number for number in range(10)) + b" -all"

    def answer(question: PolicyQuestion) -> PolicyReply:
        hosts = tuple(f"{host}.{question.name}" for host in "abcdefghij")
        return PolicyReply({"TXT": (record,), "MX": hosts}.get(question.kind, ("192.0.2.2",)))

    result, asked = run(SPFRequest(ip="192.0.2.1", helo="x.example", reverse_path=SENDER), answer)
    assert (result.result, asked) == ("fail", 1 + 10 + 100)
