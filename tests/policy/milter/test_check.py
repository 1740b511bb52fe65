"""Every reply at every step, and the order of commands."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from mailserver.events.filters import FilterUnusable, HeaderChanged
from mailserver.mail.address import Address
from mailserver.mail.verdict import MAIL_SYSTEM, NOT_AUTHORIZED, Accept, Defer, Refuse, Status
from mailserver.policy.milter.check import MAX_HEADER
from mailserver.policy.milter.commands import MAX_BODY
from mailserver.policy.milter.session import LONGEST, MAX_CHANGES
from mailserver.reception.checks import ACCEPTED
from tests.support.milter import CONTINUE, answer, indexed, options, strings
from tests.support.milter_stream import BOB, CLIENT, MESSAGE, SENDER, FilteredClient

KEY = "policy.milter[1]"
FAILED = Defer(MAIL_SYSTEM, "not now", "policy.milter_default")
REJECTED = Refuse(NOT_AUTHORIZED, "rejected by a mail filter", KEY)
DEFERRED = Defer(NOT_AUTHORIZED, "deferred by a mail filter; please try again later", KEY)
ENDED = Defer(NOT_AUTHORIZED, "a mail filter ends the session; please try again later", KEY)
ADDED = answer(b"h", b"X\x001\0")
DROPPED = Accept("Ok", dropped_by=KEY)

# The verdict at each step, and the commands that the filter has seen by then.
STEPS = {b"C": "OC", b"H": "OCH", b"M": "OCHM", b"R": "OCHMR", b"T": "OCHMRT", b"L": "OCHMRTL"}
STEPS |= {b"N": "OCHMRTLN", b"B": "OCHMRTLNB", b"E": "OCHMRTLNBE"}
VERDICTS: list[tuple[bytes, Any]] = [
    (answer(b"r"), REJECTED),
    (answer(b"t"), DEFERRED),
    (answer(b"4"), ENDED),
    (answer(b"f"), ENDED),
    (answer(b"y", b"554 5.7.9 no\0"), Refuse(Status(7, 9), "no", KEY, 554)),
    (answer(b"y", b"421 4.3.2 no\0"), Defer(Status(3, 2), "no", KEY, 421)),
    (answer(b"p") * 3 + answer(b"r"), REJECTED),
    (answer(b"?"), FAILED),
    (answer(b"c", b"data"), FAILED),
    (answer(b"O", b"\0" * 12), FAILED),
    (b"\0\0\0\0", FAILED),
    (b"\xff" * 4, FAILED),
    (answer(b"+", b"<a@b>\0"), FAILED),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("reply", "verdict"), VERDICTS)
def test_what_does_not_accept(step: bytes, reply: bytes, verdict: Any) -> None:
    filtered = FilteredClient([{step: reply}], FAILED)
    assert filtered.send() == verdict
    assert filtered.commands().rstrip("Q") == STEPS[step]


@pytest.mark.parametrize("step", STEPS)
def test_accept(step: bytes) -> None:
    filtered = FilteredClient([{step: answer(b"a")}], FAILED)
    assert filtered.send() is ACCEPTED
    assert filtered.commands().rstrip("Q") == STEPS[step]
    assert filtered.send() is ACCEPTED
    again = "" if step in b"CH" else "M" if step == b"E" else "AM"
    assert filtered.commands().rstrip("Q").startswith(STEPS[step] + again)


@pytest.mark.parametrize("step", STEPS)
def test_drop(step: bytes) -> None:
    filtered = FilteredClient([{step: answer(b"d")}, {}], FAILED)
    assert filtered.send() == (FAILED if step in b"CH" else DROPPED)
    assert filtered.commands(1).rstrip("Q") == ("" if step in b"CHM" else "OCHM" if step == b"R" else "OCHMR")
    filtered.scripts[0].clear()
    assert filtered.send() is ACCEPTED


@pytest.mark.parametrize("step", [step for step in STEPS if step != b"B"])
def test_only_the_body_can_be_skipped(step: bytes) -> None:
    assert FilteredClient([{step: answer(b"s")}], FAILED).send() == FAILED
    skipped = FilteredClient([{b"B": answer(b"s")}], FAILED)
    assert skipped.send(MESSAGE + b"x" * 3 * MAX_BODY) is ACCEPTED
    assert skipped.commands() == "OCHMRTLNBE"


@pytest.mark.parametrize("step", [step for step in STEPS if step != b"E"])
def test_changes_are_for_the_end(step: bytes) -> None:
    assert FilteredClient([{step: ADDED + CONTINUE}], FAILED).send() == FAILED


@pytest.mark.parametrize("step", [b"O", *STEPS])
def test_a_connection_that_ends(step: bytes) -> None:
    with capturedLogs() as logs:
        assert FilteredClient([{step: None}], FAILED).send() == FAILED
    (event,) = [log["log_event"] for log in logs if isinstance(log.get("log_event"), FilterUnusable)]
    assert (event.id, event.session, event.rule, event.action) == ("id1", "one", KEY, "defer")
    assert event.reason.endswith("may need an action that this server does not offer") == (step == b"O")


@pytest.mark.parametrize(
    ("failed", "action"), [(None, "accept"), (FAILED, "defer"), (attrs.evolve(REJECTED, key="x"), "reject")]
)
def test_no_connection(failed: Any, action: str) -> None:
    filtered = FilteredClient([{}, {}], failed, refused=True)
    with capturedLogs() as logs:
        assert filtered.send() == (failed or ACCEPTED)
    events = [log["log_event"] for log in logs if isinstance(log.get("log_event"), FilterUnusable)]
    # The second filter is asked if the first one counts as one that accepts; each once for the message.
    assert [event.rule for event in events] == [KEY, "policy.milter[2]"][: 1 if failed else 2]
    assert {(event.action, event.reason) for event in events} == {(action, "connection refused")}
    filtered.refused = False
    assert filtered.send() is ACCEPTED


def test_what_a_filter_is_told() -> None:
    client = attrs.evolve(CLIENT, tls="TLSv1.3 with TLS_AES_256_GCM_SHA384", account=BOB)
    filtered = FilteredClient(client=client)
    assert filtered.send(b"Subject:  one\r\n two\r\nX:1\r\n\r\nbody\r\n") is ACCEPTED
    assert filtered.commands() == "OCHMRTLLNBE"
    assert filtered.data(b"M") == [b"<s@far.example>\0SIZE=9\0"]
    assert filtered.data(b"R") == [b"<alice@example.org>\0NOTIFY=NEVER\0"]
    assert filtered.data(b"L") == [b"Subject\0 one\n two\0", b"X\x001\0"]
    assert filtered.data(b"B") == [b"body\r\n"]
    macros = {data[:1]: data[1:] for data in filtered.data(b"D")}
    told = {key: dict(zip(*[iter(strings(data))] * 2, strict=True)) for key, data in macros.items()}
    assert told[b"C"] == {
        b"j": b"mx",
        b"{client_addr}": b"192.0.2.1",
        b"{client_name}": b"[192.0.2.1]",
        b"_": b"[192.0.2.1]",
    }
    assert told[b"H"] == {b"{tls_version}": b"TLSv1.3", b"{cipher}": b"TLS_AES_256_GCM_SHA384"}
    assert told[b"M"] == {
        b"i": b"id1",
        b"{auth_authen}": b"bob@example.org",
        b"{mail_addr}": b"s@far.example",
        b"{mail_host}": b"far.example",
    }
    assert told[b"R"] == {b"i": b"id1", b"{rcpt_addr}": b"alice@example.org", b"{rcpt_host}": b"example.org"}
    assert told[b"T"] == told[b"N"] == told[b"E"] == {b"i": b"id1"}


@pytest.mark.parametrize(
    ("steps", "commands"),
    [
        (0x7F | 0x200, "OE"),
        (0x10, "OCHMRTLNE"),
        (0x20, "OCHMRTNBE"),
        (0x1FD80, "OCHMRTLNBE"),
        (0xFF080, "OCHMRTLNBE"),
    ],
)
def test_steps_that_a_filter_does_not_want_or_answer(steps: int, commands: str) -> None:
    script: dict[bytes, bytes | None] = {b"O": options(steps=steps)}
    silent = {b"L": 0x80, b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"T": 0x10000}
    silent |= {b"N": 0x40000, b"B": 0x80000}
    script |= {command: b"" for command, bit in silent.items() if steps & bit}
    filtered = FilteredClient([script], FAILED)
    assert filtered.send() is ACCEPTED
    assert filtered.commands() == commands


def test_messages_of_one_session_share_a_connection() -> None:
    filtered = FilteredClient()
    assert [filtered.send() for _ in range(3)] == [ACCEPTED] * 3
    filtered.mail()
    filtered.mail()  # RSET, or a MAIL that another check has rejected
    filtered.client = attrs.evolve(CLIENT, helo="other.example")
    filtered.send()
    assert filtered.commands() == "OCH" + "MRTLNBE" * 3 + "MAM" + "AHMRTLNBE"
    filtered.client = attrs.evolve(CLIENT, ip="192.0.2.2")  # XCLIENT
    filtered.send()
    assert filtered.commands().endswith("QOCHMRTLNBE") and len(filtered.streams) == 2
    filtered.checks.session_ended("one")
    assert filtered.commands().endswith("Q") and not filtered.streams[-1].is_open
    filtered.checks.session_ended("one")


def test_a_rejected_recipient_leaves_the_others() -> None:
    filtered = FilteredClient([{b"R": answer(b"r")}], FAILED)
    assert filtered.mail() is ACCEPTED and filtered.rcpt() == REJECTED
    filtered.scripts[0].clear()
    assert filtered.rcpt(BOB) is ACCEPTED and filtered.data_end() is ACCEPTED


def test_a_filter_that_closes_between_messages_is_connected_again() -> None:
    filtered = FilteredClient([{}], FAILED)
    assert filtered.send() is ACCEPTED
    filtered.streams[0].is_open = False
    assert filtered.send() is ACCEPTED
    assert len(filtered.streams) == 2 and filtered.commands() == "OCHMRTLNBE" * 2


def test_a_client_that_leaves_while_its_message_is_filtered() -> None:
    filtered = FilteredClient([{b"E": b""}, {}], None)
    waiting = filtered.send()
    assert isinstance(waiting, Deferred)
    filtered.checks.session_ended("one")
    assert all(stream.is_open for stream in filtered.streams), "the filters are asked to the end"
    first = filtered.streams[0]
    assert first.waiting is not None
    first.waiting.callback(CONTINUE)
    assert filtered.commands(1) == "OCHMRTLNBEQ" and filtered.commands(0).endswith("Q")
    assert not any(stream.is_open for stream in filtered.streams)


def test_a_reply_without_a_command() -> None:
    assert FilteredClient([{b"M": CONTINUE * 2}], FAILED, whole=True).send() == FAILED


def test_progress_without_an_end() -> None:
    filtered = FilteredClient([{b"E": b""}], FAILED)
    filtered.send()
    waiting: Any = None
    for _ in range(3):
        waiting = filtered.streams[0].waiting
        filtered.clock.advance(LONGEST / 2)
        waiting.callback(answer(b"p"))
    assert not filtered.streams[0].is_open


def test_changes_of_the_header() -> None:
    changes = [
        ADDED,
        indexed(b"i", 0, b"A", b"top"),
        indexed(b"m", 1, b"subject", b"two"),
    ]
    filtered = FilteredClient([{b"E": b"".join(changes) + answer(b"a")}, {}], FAILED)
    with capturedLogs() as logs:
        verdict = filtered.send()
    assert verdict.fields == b"A: top\r\n"
    assert b"".join(verdict.changed.chunks()) == b"subject: two\r\nX: 1\r\n\r\nbody\r\n"
    assert verdict.changed.size == len(b"subject: two\r\nX: 1\r\n\r\nbody\r\n")
    assert filtered.data(b"L", 1) == [b"A\0top\0", b"subject\0two\0", b"X\x001\0"], (
        "the next filter sees them"
    )
    (event,) = [log["log_event"] for log in logs if isinstance(log.get("log_event"), HeaderChanged)]
    assert (event.names, event.id) == ("A, Subject, X, subject", "id1")


@pytest.mark.parametrize(
    ("replies", "reasons"),
    [
        ([b"virus\0", b""], ["virus"]),
        ([b"\0", b"two\r\nlines\0"], ["no reason given"]),
        ([b"", b"two\r\nlines\0"], ["two?lines"]),
        ([b"", b""], []),
    ],
)
def test_quarantine(replies: list[bytes], reasons: list[str]) -> None:
    ends = [(answer(b"q", data) if data else b"") + ADDED + CONTINUE for data in replies]
    verdict = FilteredClient([{b"E": end} for end in ends], FAILED).send()
    asides = [verdict.aside.reason] if verdict.aside else []
    assert asides == reasons and verdict.changed is not None
    if reasons:
        assert verdict.aside.key == (KEY if replies[0] else "policy.milter[2]")


def test_a_rejection_counts_more_than_the_quarantine() -> None:
    kept = answer(b"q", b"virus\0")
    assert FilteredClient([{b"E": kept + answer(b"r")}], FAILED).send() == REJECTED
    assert FilteredClient([{b"E": kept + answer(b"d")}], FAILED).send() == DROPPED
    assert FilteredClient([{b"N": kept}], FAILED).send() == FAILED


def test_fields_at_the_top_do_not_change_the_content() -> None:
    verdict = FilteredClient([{b"E": indexed(b"i", 0, b"A", b"top") + CONTINUE}]).send()
    assert verdict == Accept("Ok", b"A: top\r\n")


@pytest.mark.parametrize(
    ("message", "change", "stored"),
    [
        (b"\r\nbody\r\n", ADDED, b"X: 1\r\n\r\nbody\r\n"),
        (b"", ADDED, b"X: 1\r\n"),
        (b"A: 1\r\ntext\r\n", ADDED, b"A: 1\r\nX: 1\r\ntext\r\n"),
        (b"A: 1\r\ntext\r\n", indexed(b"m", 1, b"A", b""), b"\r\ntext\r\n"),
        (b"A: 1\r\n\r\ntext\r\n", indexed(b"m", 1, b"A", b""), b"\r\ntext\r\n"),
    ],
)
def test_messages_of_other_forms(message: bytes, change: bytes, stored: bytes) -> None:
    verdict = FilteredClient([{b"E": change + CONTINUE}]).send(message)
    assert b"".join(verdict.changed.chunks()) == stored


@pytest.mark.parametrize("end", [answer(b"r"), answer(b"d"), answer(b"?"), None])
def test_changes_count_only_with_acceptance(end: bytes | None) -> None:
    reply = ADDED + (end or b"\0\0\0\0")
    filtered = FilteredClient([{b"E": reply}, {}], None)
    verdict = filtered.send()
    assert verdict == REJECTED or verdict.changed is None
    assert b"X\x001\0" not in filtered.data(b"L", 1)


def test_too_many_changes() -> None:
    assert FilteredClient([{b"E": ADDED * MAX_CHANGES + CONTINUE}], FAILED).send().changed is not None
    assert FilteredClient([{b"E": ADDED * (MAX_CHANGES + 1) + CONTINUE}], FAILED).send() == FAILED


@pytest.mark.parametrize("size", [0, 1, MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, 20 * MAX_BODY])
def test_the_body_in_pieces(size: int) -> None:
    filtered = FilteredClient([{}], FAILED)
    body = bytes(range(256)) * (size // 256 + 1)
    assert filtered.send(b"A: 1\r\n\r\n" + body[:size]) is ACCEPTED
    pieces = filtered.data(b"B")
    assert b"".join(pieces) == body[:size] and all(len(piece) == MAX_BODY for piece in pieces[:-1])
    # Large messages are read in threads: the header, and then eight pieces at a time, up to the end.
    assert filtered.threads == (0 if size < MAX_BODY - 1 else 1 + -(-len(pieces) // 8) + 1)


def test_a_header_that_is_too_large() -> None:
    filtered = FilteredClient([{}], None)
    verdict = filtered.send(b"A: " + b"x" * MAX_HEADER + b"\r\n\r\nbody\r\n")
    assert verdict == Refuse(
        NOT_AUTHORIZED, f"the header is larger than {MAX_HEADER} octets", "policy.milter"
    )
    assert filtered.commands() == "OCHMR"


@pytest.mark.parametrize(
    "client",
    [
        attrs.evolve(CLIENT, ip="198.51.100.1"),
        attrs.evolve(CLIENT, ip=""),
        attrs.evolve(CLIENT, session=""),
        attrs.evolve(CLIENT, protocol="ESMTPLMTP"),
    ],
)
def test_who_is_not_filtered(client: Any) -> None:
    filtered = FilteredClient(client=client)
    assert filtered.send() is ACCEPTED and not filtered.streams


def test_addresses_are_as_they_were_given() -> None:
    filtered = FilteredClient()
    filtered.mail()
    filtered.rcpt(Address("Alice", "example.org"))
    assert filtered.data(b"R") == [b"<Alice@example.org>\0NOTIFY=NEVER\0"]
    assert str(SENDER).encode() in filtered.data(b"M")[0]


def test_a_full_connection_at_the_end_of_a_session() -> None:
    filtered = FilteredClient()
    filtered.mail()
    full: Deferred[None] = Deferred()
    write = filtered.streams[0].write
    filtered.streams[0].write = lambda data: (write(data), full)[1]  # type: ignore[assignment]
    filtered.checks.session_ended("one")
    full.errback(TimeoutError("too late"))
    assert filtered.commands().endswith("Q") and not full.result
