"""Rules and acts alone: conditions that count, changes by chance, and all that is refused when it is made."""

import re
from random import Random
from typing import Any

import pytest

from mailserver.faults.acts import (
    HANG,
    Corrupt,
    Drip,
    Ending,
    Extra,
    Garbage,
    Pause,
    Plan,
    Say,
    Swap,
    Truncate,
)
from mailserver.faults.capabilities import Capabilities
from mailserver.faults.moments import MOMENTS, POP3, SMTP, check_acts, check_moment
from mailserver.faults.rules import Facts, Rule, Rules, complaint
from mailserver.testing.rule_builder import RuleBuilder, begin_rule, literal

REPLY = b"250-mail.example.org\r\n250 SIZE 1000\r\n"


class TestConditions:
    @pytest.mark.parametrize(
        ("conditions", "acts_at"),
        [
            ({}, "1 2 3 4 5 6 7 8"),
            ({"times": 2}, "1 2"),
            ({"after": 3}, "4 5 6 7 8"),
            ({"every": 3}, "3 6"),
            ({"after": 1, "every": 3}, "4 7"),
            ({"after": 1, "every": 2, "times": 2}, "3 5"),
            ({"above": 2, "per": 3.5}, "3 4 7 8"),
            ({"above": 2, "per": 3.0}, "3 6"),
            ({"above": 0, "per": 1.0}, "1 2 3 4 5 6 7 8"),
            ({"chance": 0.0}, ""),
        ],
    )
    def test_each_second_a_command(self, conditions: dict[str, Any], acts_at: str) -> None:
        rule = Rule(SMTP, "NOOP", (Ending.CLOSE,), **conditions)
        fired = [now for now in range(1, 9) if rule.is_due(Facts(1, "", "", float(now)), Random(0))]
        assert " ".join(map(str, fired)) == acts_at
        assert (rule.seen, rule.fired) == (8, len(fired))

    def test_a_seed_decides_chance(self) -> None:
        def fired(seed: int) -> list[bool]:
            rules = Rules(Random(seed))
            rules.add(Rule(SMTP, "NOOP", (Ending.CLOSE,), chance=0.5))
            return [rules.find(SMTP, "NOOP", Facts(1, "", "", 0.0)) is not None for _ in range(100)]

        assert fired(1) == fired(1) != fired(2)
        assert 30 < sum(fired(1)) < 70

    @pytest.mark.parametrize(
        ("wanted", "account", "is_same"),
        [
            ("bob", "bob@example.test", True),
            ("Bob@Example.test", "bob@example.TEST", True),
            ("bob@example.test", "bob", True),
            ("bob@example.test", "bob@other.test", False),
            ("bob", "bobby@example.test", False),
            ("bob", "", False),
        ],
    )
    def test_accounts(self, wanted: str, account: str, is_same: bool) -> None:
        rule = Rule(POP3, "STAT", (Ending.CLOSE,), account=wanted)
        assert rule.holds(POP3, "STAT", Facts(1, account, "", 0.0)) == is_same

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("times", 0), ("every", 0), ("after", -1), ("session", -1), ("above", -1), ("chance", 1.5),
            ("chance", -1),
        ],
    )  # fmt: skip
    def test_a_condition_that_cannot_hold_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=name):
            setattr(Rule(SMTP, "NOOP"), name, value)

    def test_rules_that_do_nothing_are_missed(self) -> None:
        rules = Rules()
        for rule in (
            missed := Rule(SMTP, "NOOP", (Ending.CLOSE,)),
            empty := Rule(SMTP, "NOOP", is_optional=True),
            Rule(SMTP, "NOOP", (Ending.CLOSE,), is_optional=True),
            Rule(SMTP, "NOOP", (Ending.CLOSE,), fired=1),
        ):
            rules.add(rule)
        assert rules.never_fired() == [missed, empty]
        rules.remove(missed)
        assert rules.never_fired() == [empty]
        assert "a rule without an act" in complaint(rules.never_fired())
        assert complaint([]) == ""

    def test_rules_of_the_other_protocol(self) -> None:
        rules = Rules()
        rules.add(Rule(SMTP, "NOOP", (Ending.CLOSE,)))
        rules.add(Rule(SMTP, "NOOP", (Ending.CLOSE,), at=3))
        facts = Facts(1, "", "", 0.0)
        assert [rules.find(each, "NOOP", facts) is not None for each in (POP3, SMTP)] == [False, True]
        assert [rules.places(each, "NOOP", facts) for each in (POP3, SMTP)] == [[], [3]]

    def test_a_rule_describes_itself(self) -> None:
        rule = Rule(POP3, "RETR", (Ending.RESET,), re.compile("^1$"), 100)
        assert str(rule) == "pop3 RETR '^1$' at octet 100: Ending.RESET (acted 0 of 0 times)"
        written = begin_rule(Rules(), POP3, "retr", "^1$", 100).delay("2s").locked().above(1, per="1m").rule
        written.place = "test_it.py:12"
        text = 'pop3.on("retr", "^1$", at=100).delay("2s").locked().above(1, per="1m")'
        assert str(written) == f"test_it.py:12: {text} (acted 0 of 0 times)"
        assert literal("x" * 100) == '"' + "x" * 59 + "…"


class TestChanges:
    def test_corrupt(self) -> None:
        for count in (1, 5, 1000):
            changed = Corrupt(count).change(REPLY, Random(3))
            differences = sum(a != b for a, b in zip(REPLY, changed, strict=True))
            assert differences == min(count, len(REPLY) - 4)
            assert changed.count(b"\r\n") == 2 and changed.endswith(b"\r\n")

    def test_garbage(self) -> None:
        made = Garbage(20).change(REPLY, Random(3))
        assert len(made) == 22 and made.endswith(b"\r\n") and not any(octet < 0x80 for octet in made[:-2])
        assert made == Garbage(20).change(REPLY, Random(3)) != Garbage(20).change(REPLY, Random(4))

    @pytest.mark.parametrize("speed", [0.5, 10, 37, 100_000])
    def test_drip_takes_its_time(self, speed: float) -> None:
        steps = Drip(speed).send(REPLY)
        assert b"".join(step for step in steps if isinstance(step, bytes)) == REPLY
        seconds = sum(step.seconds for step in steps if isinstance(step, Pause))
        assert seconds == pytest.approx(len(REPLY) / speed)
        assert isinstance(steps[0], Pause)


@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ((Ending.CLOSE, Say(b"x")), "nothing can follow"),
        ((HANG, Ending.RESET), "nothing can follow"),
        ((Say(b"x"), Truncate(1)), "cannot be changed any more"),
        ((Truncate(1), Pause(1), Extra(b"x")), "cannot be changed any more"),
        ((Drip(1), Truncate(1)), "after drip or swap"),
        ((Swap(), Drip(1)), "after drip or swap"),
    ],
)
def test_acts_that_cannot_follow_each_other(acts: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Plan.of(acts)


@pytest.mark.parametrize("act", [Drip, Pause, Truncate, Garbage])
def test_a_number_below_zero_is_refused(act: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        act(-1)


@pytest.mark.parametrize(
    ("protocol", "name", "at", "why"),
    [
        (SMTP, "rcpt to", None, 'no moment "RCPT TO"; the verb is "RCPT", and the argument comes after it'),
        (SMTP, "RCTP", None, 'no moment "RCTP"; did you mean "RCPT"'),
        (POP3, "DELLE", None, 'no moment "DELLE"; did you mean "DELE"'),
        (SMTP, "stord", None, 'no moment "STORD"; did you mean "stored"'),
        (POP3, "RCPT", None, 'no moment "RCPT"; '),
        (SMTP, "QQQQ", None, 'no moment "QQQQ"; allowed: "ATRN", .*"connect", '),
        (SMTP, "removed", None, 'smtp has no moment "removed"'),
        (POP3, "dot", None, 'pop3 has no moment "dot"'),
        (POP3, "DATA", 5, 'no moment "DATA"; '),
        (SMTP, "DATA", 0, "at: 0; allowed: 1 and more"),
        (POP3, "RETR", -1, "at: -1; allowed: 0 and more"),
        (SMTP, "stored", 4, '"stored" has no octets to count'),
        (SMTP, "connect", 0, '"connect" has no octets to count'),
    ],
)
def test_moments_that_do_not_exist(protocol: str, name: str, at: int | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_moment(protocol, name, at)


@pytest.mark.parametrize(("name", "moment"), [("Dot", "dot"), ("rcpt", "RCPT"), ("AUTH STEP", "auth step")])
def test_moments_in_any_case(name: str, moment: str) -> None:
    assert check_moment(SMTP, name, None) == moment
    assert (moment in MOMENTS) == (moment != "RCPT")


def test_verbs_of_the_test() -> None:
    assert check_moment(SMTP, "x-coffee", None) == "X-COFFEE"
    assert check_moment(SMTP, "coffee", None, own=["COFFEE"]) == "COFFEE"


@pytest.mark.parametrize(
    ("protocol", "name", "at", "make", "why"),
    [
        (SMTP, "connect", None, lambda rule: rule.truncate(1), 'no reply to change at "connect"'),
        (SMTP, "DATA", 5, lambda rule: rule.drip(1), 'no reply to change at "DATA at n, BDAT at n"'),
        (SMTP, "tls", None, lambda rule: rule.reply(250), 'nothing can be sent at "tls"'),
        (SMTP, "RCPT", None, lambda rule: rule.cut(), "can be cut only at"),
        (SMTP, "NOOP", None, lambda rule: rule.lie(1), "sizes"),
        (POP3, "DELE", None, lambda rule: rule.lie(1), "sizes"),
        (POP3, "RETR", 5, lambda rule: rule.lie(1), "sizes"),
        (POP3, "QUIT", None, lambda rule: rule.swap(), "no reply comes after"),
        (POP3, "removed", None, lambda rule: rule.swap(), "no reply comes after"),
        (POP3, "RETR", 5, lambda rule: rule.swap(), "only a whole reply"),
        (SMTP, "RCPT", None, lambda rule: rule.locked(), "no reply code '-ERR'"),
        (POP3, "USER", None, lambda rule: rule.reply(250), "no status 250"),
        (SMTP, "RCPT", None, lambda rule: rule.reply(451, "4.2.1", "a\nb"), "has no line end"),
        (POP3, "USER", None, lambda rule: rule.extra("+OK", "a\r"), "has no line end"),
        (SMTP, "RCPT", None, lambda rule: rule.close().reply(250), "nothing can follow"),
    ],
)  # fmt: skip
def test_acts_that_make_no_sense(protocol: str, name: str, at: int | None, make: Any, why: str) -> None:
    rules = Rules()
    with pytest.raises(ValueError, match=why):
        make(begin_rule(rules, protocol, name, None, at))
    assert all(rule.acts in ((), (Ending.CLOSE,)) for rule in rules)


def test_each_act_is_checked_with_those_before() -> None:
    builder: RuleBuilder = begin_rule(Rules(), SMTP, "NOOP", None, None).drip(1)
    with pytest.raises(ValueError, match="after drip"):
        builder.truncate(1)
    assert builder.rule.acts == (Drip(1),)
    check_acts(SMTP, "NOOP", None, builder.rule.acts)


class TestCapabilities:
    EHLO = b"250-mail.example.org\r\n250-SIZE 1000\r\n250-AUTH PLAIN\r\n250 AUTH=PLAIN\r\n"
    CAPA = b"+OK\r\nTOP\r\nSASL PLAIN\r\n.\r\n"

    @pytest.mark.parametrize(
        ("hidden", "invented", "moment", "reply", "shown"),
        [
            ({"AUTH"}, [], "EHLO", EHLO, b"250-mail.example.org\r\n250 SIZE 1000\r\n"),
            ({"AUTH", "SIZE"}, ["XFOO 1"], "LHLO", EHLO, b"250-mail.example.org\r\n250 XFOO 1\r\n"),
            ({"AUTH", "SIZE"}, [], "EHLO", EHLO, b"250 mail.example.org\r\n"),
            ({"SASL"}, ["XFOO"], "CAPA", CAPA, b"+OK\r\nTOP\r\nXFOO\r\n.\r\n"),
            (set(), [], "CAPA", CAPA, CAPA),
            ({"SIZE"}, [], "HELO", EHLO, EHLO),
            ({"SIZE"}, [], "EHLO", b"501 5.5.4 SIZE\r\n", b"501 5.5.4 SIZE\r\n"),
        ],
    )
    def test_the_list(self, hidden: Any, invented: Any, moment: str, reply: bytes, shown: bytes) -> None:
        assert Capabilities(hidden, invented).edit(moment, reply) == shown
