"""Whatever the rules and whatever the input: the joint raises nothing, comes to rest, and keeps order."""

from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailserver.faults.acts import (
    HANG,
    Corrupt,
    Drip,
    Ending,
    Extra,
    Garbage,
    Lie,
    Pause,
    Say,
    Silence,
    Swap,
    Truncate,
)
from mailserver.faults.moments import MOMENTS, POP3, SMTP, check_acts, check_moment
from mailserver.faults.rules import Rule
from tests.support import pop3, smtp
from tests.support.scripted import ScriptedServer

_ENVELOPE = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\n"
SMTP_LINES = (
    _ENVELOPE + b"DATA\r\nSubject: x\r\n\r\n..text\r\n.", _ENVELOPE + b"BDAT 4\r\nabcdBDAT 4 LAST\r\nab",
    _ENVELOPE + b"DATA", _ENVELOPE + b"RCPT TO:<nobody@example.org>", b"AUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0",
    b"STARTTLS\r\n\x16EHLO c", b"STARTTLS\r\nNOOP", b"HELO c", b"AUTH LOGIN", b"*",
    b"AUTH PLAIN AGFsaWNlAHNlY3JldA==", b"text", b".", b"bare\n.", b"BDAT 0 LAST", b"BDAT  6 LAST\r\nabcd",
    b"BDAT x", b"RSET", b"NOOP", b"XFOO", b"", b"QUIT", b"\xff\x00",
)  # fmt: skip
POP3_LINES = (
    b"USER mrose\r\nPASS secret", b"USER mrose\r\nPASS secret\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT", b"CAPA",
    b"AUTH PLAIN\r\nAG1yb3NlAHNlY3JldA==", b"STLS\r\n\x16CAPA", b"STLS", b"PASS wrong", b"AUTH PLAIN", b"*",
    b"STAT", b"LIST", b"LIST 1", b"UIDL", b"RETR 1", b"RETR 9", b"TOP 2 0", b"DELE 1", b"RSET", b"NOOP",
    b"XFOO", b"", b"QUIT", b"\xff\x00",
)  # fmt: skip
LINES = {SMTP: SMTP_LINES, POP3: POP3_LINES}
VERBS = {
    SMTP: (
        "HELO",
        "EHLO",
        "STARTTLS",
        "AUTH",
        "MAIL",
        "RCPT",
        "DATA",
        "BDAT",
        "RSET",
        "NOOP",
        "XFOO",
        "QUIT",
    ),
    POP3: (
        *("CAPA", "STLS", "USER", "PASS", "AUTH", "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "NOOP"),
        *("XFOO", "QUIT"),
    ),
}
ACTS: Sequence[Any] = (
    HANG, *Ending, Pause(1), Say(b"250 said\r\n"), Drip(100), Truncate(0), Truncate(9), Corrupt(3),
    Garbage(5), Silence(), Extra(b"250 more\r\n"), Swap(), Lie(7),
)  # fmt: skip


def server_of(protocol: str) -> Any:
    if protocol == SMTP:
        return smtp.FakeServer(
            attrs.evolve(smtp.SETTINGS, mechanisms=("LOGIN", "PLAIN"), plaintext_auth=True, starttls=True)
        )
    settings = attrs.evolve(pop3.SETTINGS, mechanisms=("PLAIN",), starttls=True)
    return pop3.FakeServer(pop3.maildrop_of([pop3.message_of(40), pop3.message_of(200)]), settings=settings)


@st.composite
def rules(draw: Any, protocol: str) -> Rule:
    """Any rule that is allowed."""
    at = draw(st.none() | st.integers(0, 30))
    name = draw(st.sampled_from([*VERBS[protocol], *MOMENTS]))
    acts = draw(st.lists(st.sampled_from(ACTS), min_size=1, max_size=3))
    while True:
        try:
            moment = check_moment(protocol, name, at)
            check_acts(protocol, moment, at, acts)
        except ValueError:
            if at is not None:
                at = None
            elif len(acts) > 1:
                acts.pop()
            else:
                name, acts = "NOOP", [Pause(1)]
        else:
            conditions = {
                "times": draw(st.none() | st.integers(1, 3)),
                "after": draw(st.sampled_from([0, 0, 0, 1])),
            }
            return Rule(protocol, moment, tuple(acts), at=at, **conditions)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def played(protocol: str, scripted: Sequence[Rule], pieces: Sequence[bytes]) -> ScriptedServer:
    made = ScriptedServer(server_of(protocol), protocol, scripted)
    for piece in pieces:
        made.feed(piece)
    return made


@st.composite
def dialogues(draw: Any) -> tuple[str, list[Rule], bytes, list[int]]:
    protocol = draw(st.sampled_from([SMTP, POP3]))
    lines = draw(st.lists(st.sampled_from(LINES[protocol]), min_size=1, max_size=8))
    scripted = draw(st.lists(rules(protocol), max_size=4))
    data = b"".join(line + b"\r\n" for line in lines)
    return protocol, scripted, data, draw(st.lists(st.integers(0, 1000), max_size=10))


@given(dialogues())
def test_no_rule_breaks_a_session(case: tuple[str, list[Rule], bytes, list[int]]) -> None:
    protocol, scripted, data, places = case
    whole = played(protocol, scripted, [data])
    cut_up = played(protocol, scripted, cut(data, places))
    if not any("Corrupt" in str(rule) or "Garbage" in str(rule) for rule in scripted):
        assert (cut_up.said, cut_up.is_over) == (whole.said, whole.is_over)
    joint = whole.joint
    assert whole.is_over or joint.next_event() is None
    assert joint.take_output() == b""


@given(dialogues())
def test_a_rule_that_does_not_act_changes_nothing(case: tuple[str, list[Rule], bytes, list[int]]) -> None:
    protocol, scripted, data, places = case
    idle = [attrs.evolve(rule, after=10_000) for rule in scripted]
    made = played(protocol, idle, cut(data, places))
    server = server_of(protocol)
    server.session.greet()
    said = server.feed(b"") + b"".join([server.feed(piece) for piece in cut(data, places)])
    assert made.said.removesuffix("<closed>") == said.decode("latin-1").replace("\r\n", "\n")
