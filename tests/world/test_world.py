"""Whatever the far side does, each recipient is delivered, or bounced with the right status, and once.

The server, the DNS servers and the far sides are real, on loopback; the time is virtual.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.ssl import CertificateOptions

from mailserver.net.pairs import PairFiles, read_pair
from mailserver.net.tls import server_options
from tests.support.far_sides.far_side import EXTENSIONS
from tests.support.far_sides.scripts import (
    TLS_FAILURES,
    AwaitOctets,
    BeginTLS,
    Drop,
    Endless,
    Keep,
    Rule,
    Say,
    Script,
    Silence,
    Usual,
    at,
    greylisting,
    most_messages,
    most_recipients,
    reply,
)
from tests.support.tls_material import Authority, make_ca
from tests.support.world import DAY, TEXT, world

QUEUE = """
[queue]
retry = ["5m", "30m", "4h"]
expire_after = "12h"
"""
GARBAGE = Say(bytes(range(256)) * 8)


@attrs.frozen
class Case:
    """A far side, and what becomes of a message to its domain: so many copies, or one bounce with
    a ``status`` (a pattern)."""

    script: Script = ()
    status: str = ""
    copies: int = 1
    options: dict[str, Any] = attrs.field(factory=dict)


NO_CHUNKING = {"extensions": [one for one in EXTENSIONS if one not in ("CHUNKING", "BINARYMIME")]}


def refused(step: str, name: str, **options: Any) -> dict[str, Case]:
    """At this step: for now, for good, with 421, by silence, by the end of the connection, with garbage."""
    go_on = (Say(b"354 go ahead\r\n"), AwaitOctets()) if step == "DATA" else ()
    return {
        f"{name}-4xx": Case(at(step, "450 4.2.1 not now"), r"5\.[24]\.[0-9]", options=options),
        f"{name}-5xx": Case(at(step, "550 5.7.1 no"), "5.7.1", options=options),
        f"{name}-421": Case(at(step, "421 4.3.2 shutting down"), r"5\.[34]\.[0-9]", options=options),
        f"{name}-silence": Case((Rule(step, (Silence(),)),), r"5\.4\.[0-9]", options=options),
        f"{name}-drop": Case((Rule(step, (*go_on, Drop())),), r"5\.4\.[0-9]", options=options),
        f"{name}-garbage": Case((Rule(step, (GARBAGE,)),), r"5\.4\.[0-9]", options=options),
        f"{name}-endless": Case((Rule(step, (Endless(),)),), r"5\.4\.[0-9]", options=options),
        f"{name}-later": Case((Rule(step, reply("451 4.3.0 later"), times=2),), options=options),
    }


CASES: dict[str, Case] = {
    "fine": Case(),
    "closed": Case(status=r"5\.4\.[0-9]", options={"listening": False}),
    **refused("connect", "connect"),
    **refused("MAIL", "mail"),
    **refused("RCPT", "rcpt"),
    **refused("DATA", "data", **NO_CHUNKING),
    **refused(".", "dot", **NO_CHUNKING),
    **refused(".", "last-chunk"),
    "helo-only": Case(at("EHLO", "502 5.5.1 what?")),
    "hello-4xx": Case(at("EHLO", "450 4.3.0 not now"), r"5\.[34]\.[0-9]"),
    "hello-5xx": Case((*at("EHLO", "550 5.7.1 no"), *at("HELO", "550 5.7.1 no")), "5.7.1"),
    "hello-silence": Case((Rule("EHLO", (Silence(),)),), r"5\.4\.[0-9]"),
    "hello-drop": Case((Rule("EHLO", (Drop(),)),), r"5\.4\.[0-9]"),
    "hello-421": Case(at("EHLO", "421 4.3.2 shutting down"), r"5\.[34]\.[0-9]"),
    "hello-garbage": Case((Rule("EHLO", (GARBAGE,)),), r"5\.4\.[0-9]"),
    "hello-endless": Case((Rule("EHLO", (Endless(),)),), r"5\.4\.[0-9]"),
    "slow": Case((Rule("EHLO", (Say(b"250-mx.slow.example\r\n250 HELP\r\n", pause=2.0),)),)),
    "slow-dot": Case((Rule(".", (Keep(), Say(b"250 2.0.0 at last\r\n", pause=5.0))),)),
    "no-extensions": Case(options={"extensions": ()}),
    "no-pipelining": Case(options={"extensions": ("SIZE", "8BITMIME", "DSN")}),
    "no-chunking": Case(options=NO_CHUNKING),
    "greylist": Case(greylisting()),
    "quit-silence": Case((Rule("QUIT", (Silence(),)),)),
    "quit-drop": Case((Rule("QUIT", (Drop(),)),)),
    # The answer to the dot is lost once: the message is there twice, and nobody is told that it failed.
    "lost-answer": Case((Rule(".", (Keep(), Drop()), times=1),), copies=2),
    "late-answer": Case((Rule(".", (Keep(), Silence()), times=1),), copies=2),
    "answer-in-two": Case((Rule(".", (Keep(), Say(b"25", pause=1.0), Drop()), times=1),), copies=2),
    # Out of turn: whatever follows is the answer to something else.
    "extra-mail": Case(
        (Rule("MAIL", (Usual(), Say(b"250 2.0.0 once more\r\n"))),), r"5\.4\.[0-9]", options=NO_CHUNKING
    ),
    "extra-greeting": Case((Rule("connect", (Usual(), Say(b"220 once more\r\n"))),), r"5\.4\.[0-9]"),
    "nonsense": Case((Rule("MAIL", (Say(b"999 2.0.0 what\r\n"),)),), r"5\.4\.[0-9]"),
    "starttls-4xx": Case(at("STARTTLS", "454 4.7.0 not now")),
    "starttls-5xx": Case(at("STARTTLS", "554 5.7.0 no")),
    # With 421 the server has no time for anybody; the others get it without TLS where that is not required.
    "starttls-421": Case(at("STARTTLS", "421 4.3.2 shutting down"), "5.3.2"),
    "starttls-silence": Case((Rule("STARTTLS", (Silence(),)),)),
    "starttls-drop": Case((Rule("STARTTLS", (Drop(),)),)),
    "starttls-garbage": Case((Rule("STARTTLS", (GARBAGE,)),)),
    "tls-injection": Case(
        (Rule("STARTTLS", (Say(b"220 go ahead\r\n250 injected\r\n"), BeginTLS())),),
        copies=1,
    ),
    **{f"tls-{name}": Case(script) for name, script in TLS_FAILURES.items()},
    "tls-fine": Case(),
    "tls-other-name": Case(),
    "tls-expired": Case(),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificates(authority: Authority) -> Callable[[str], CertificateOptions]:
    """What the far side of that name shows."""

    def options(name: str, **more: Any) -> CertificateOptions:
        issued = authority.issue(name, **more)
        return server_options([read_pair(PairFiles("tls", issued.certificate, issued.private_key))])

    kinds = {
        "tls-other-name": options("mx.elsewhere.example"),
        "tls-expired": options("mx.tls-expired.example", begins=timedelta(days=-9), ends=timedelta(days=-1)),
    }
    fine = options("mx.tls-fine.example")
    return lambda name: kinds.get(name, fine)


@pytest.mark.slow
def test_each_recipient_is_delivered_or_bounced(tmp_path: Path, certificates) -> None:
    """A message to each far side, and what has become of it when all attempts are over."""
    with world(tmp_path, QUEUE) as here:
        for name, case in CASES.items():
            more = {"tls": certificates(name)} if "tls" in name else {}
            here.domain(f"{name}.example", script=case.script, **{**more, **case.options})
            assert here.send(f"u@{name}.example") == {}
        here.reactor.pass_time(2 * DAY)
        bounces, copies = here.bounces(), here.copies()
        wrong = []
        for name, case in CASES.items():
            who = f"u@{name}.example"
            statuses = bounces.pop(who, [])
            far = here.sides[f"mx.{name}.example"]
            expected = 0 if case.status else case.copies
            if copies[who] != expected:
                wrong.append(f"{name}: {copies[who]} copies instead of {expected}, {statuses}")
            elif case.status and not (len(statuses) == 1 and re.fullmatch(case.status, statuses[0])):
                wrong.append(f"{name}: bounced {statuses} instead of {case.status}")
            elif not case.status and statuses:
                wrong.append(f"{name}: delivered, and bounced {statuses}")
            wrong += [
                f"{name}: content {one.content!r}" for one in far.kept if not one.content.endswith(TEXT)
            ]
        assert not wrong, "\n".join(wrong)
        assert not bounces


@pytest.mark.slow
def test_no_mail_without_the_tls_that_is_required(
    tmp_path: Path, authority: Authority, certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    verified = ("tls-fine", "tls-other-name", "tls-expired")
    table = ", ".join(f'"{name}.example" = "verified"' for name in verified)
    relay = f'allow_private = true\ntls = "required"\ntls_domains = {{ {table} }}'
    with world(tmp_path, QUEUE, relay) as here:
        for name in ("fine", *(name for name in CASES if "tls" in name)):
            more = {} if name == "fine" else {"tls": certificates(name)}
            here.domain(f"{name}.example", script=CASES[name].script, **more)
            assert here.send(f"u@{name}.example") == {}
        here.reactor.pass_time(2 * DAY)
        assert here.copies() == {"u@tls-fine.example": 1}
        [message] = here.sides["mx.tls-fine.example"].kept
        assert message.session.tls is not None and message.session.tls.name == "mx.tls-fine.example"
        statuses = here.bounces()
        assert len(statuses) == len(here.sides) - 1
        for to, bounces in statuses.items():
            assert len(bounces) == 1 and re.fullmatch(r"5\.[347]\.[0-9]+", bounces[0]), (to, bounces)


def test_several_recipients_have_each_their_own_end(tmp_path: Path) -> None:
    script = (
        Rule("RCPT", reply("550 5.1.1 nobody"), where="bad"),
        Rule("RCPT", reply("450 4.2.1 not now"), where="later", times=3),
    )
    with world(tmp_path, QUEUE) as here:
        far = here.domain("far.example", script=script)
        to = [f"{name}@far.example" for name in ("good", "bad", "fine", "later", "bad2")]
        assert here.send(*to) == {}
        here.reactor.pass_time(DAY)
        assert here.copies() == {to[0]: 1, to[2]: 1, to[3]: 1}
        assert here.bounces() == {to[1]: ["5.1.1"], to[4]: ["5.1.1"]}
        assert len(here.mailbox()) == 1, "one report for both"
        assert far.kept[0].accepted == [to[0], to[2]], "one transaction for both"


def test_more_recipients_than_a_far_side_takes_at_once(tmp_path: Path) -> None:
    with world(tmp_path, QUEUE) as here:
        far = here.domain("far.example", script=most_recipients(100))
        to = [f"u{number}@far.example" for number in range(250)]
        assert here.send(*to) == {}
        here.reactor.pass_time(DAY)
        assert here.copies() == dict.fromkeys(to, 1)
        assert here.bounces() == {}
        assert all(len(one.accepted) <= 100 for one in far.kept)


def test_more_messages_than_a_far_side_takes_in_a_while(tmp_path: Path) -> None:
    with world(tmp_path, QUEUE) as here:
        here.domain("far.example", script=most_messages(5, 60.0))
        to = [f"u{number}@far.example" for number in range(30)]
        for one in to:
            assert here.send(one) == {}
        here.reactor.pass_time(DAY)
        assert here.copies() == dict.fromkeys(to, 1)
        assert here.bounces() == {}


@pytest.mark.parametrize("second", [(), at("RCPT", "550 5.1.1 nobody")])
def test_the_next_host_is_tried(tmp_path: Path, second: Script) -> None:
    with world(tmp_path, QUEUE) as here:
        here.zone.add("far.example MX 20 b.far.example", "far.example MX 10 a.far.example")
        here.host("a.far.example", listening=False)
        far = here.host("b.far.example", script=second)
        assert here.send("u@far.example") == {}
        here.reactor.pass_time(60.0)
        assert here.copies()["u@far.example"] == (0 if second else 1)
        assert here.bounces() == ({"u@far.example": ["5.1.1"]} if second else {})
        assert len(far.sessions) == 1


DNS = {
    "null-mx": (["null-mx.example MX 0 ."], r"5\.1\.10"),
    "nowhere": ([], r"5\.1\.2"),
    "no-address": (["no-address.example TXT hello"], r"5\.(1\.2|4\.4)"),
    "mx-nowhere": (["mx-nowhere.example MX 10 mx.nowhere.example"], r"5\.(4\.4|1\.2)"),
    "us": (["us.example MX 10 mail.example.org", "mail.example.org A 127.0.0.1"], r"5\.4\.6"),
    "us-first": (
        ["us-first.example MX 10 mail.example.org", "us-first.example MX 20 mx.fine.example"],
        r"5\.4\.6",
    ),
    "servfail": ([], r"5\.4\.[34]"),
    "silent-dns": ([], r"5\.4\.[34]"),
    "cname-loop": (
        ["cname-loop.example CNAME b.example", "b.example CNAME cname-loop.example"],
        r"5\.4\.[0-9]",
    ),
}


def test_domains_that_lead_nowhere(tmp_path: Path) -> None:
    """Refused in the session, or bounced; nothing is lost."""
    with world(tmp_path, QUEUE) as here:
        here.zone.faults.update({"servfail.example": "servfail", "silent-dns.example": "silence"})
        wrong, refused = [], set()
        for name, (records, status) in DNS.items():
            here.zone.add(*records)
            for code, text in here.send(f"u@{name}.example").values():
                refused.add(name)
                if code < 500 or not re.match(status, text.decode()):
                    wrong.append(f"{name}: {code} {text!r}")
        here.reactor.pass_time(2 * DAY)
        bounces = here.bounces()
        for name, (_, status) in DNS.items():
            statuses = bounces.get(f"u@{name}.example", [])
            if (len(statuses) != 1 or not re.fullmatch(status, statuses[0])) and name not in refused:
                wrong.append(f"{name}: bounced {statuses} instead of {status}")
        assert not wrong, "\n".join(wrong)


def test_a_domain_that_is_known_to_accept_no_mail(tmp_path: Path) -> None:
    """The first message bounces. While the answer of DNS is valid, RCPT gets the reply of RFC 7505."""
    with world(tmp_path, QUEUE) as here:
        here.zone.add("null-mx.example 100000 MX 0 .")
        assert here.send("u@null-mx.example") == {}
        here.reactor.pass_time(60.0)
        assert here.bounces() == {"u@null-mx.example": ["5.1.10"]}
        code, text = here.send("other@null-mx.example")["other@null-mx.example"]
        assert (code, text) == (556, b"5.1.10 the domain null-mx.example does not accept mail (null MX)")
        here.reactor.pass_time(2 * DAY)
        assert here.send("u@null-mx.example") == {}


def test_no_connection_to_the_inside(tmp_path: Path) -> None:
    """DNS names a private address, and nobody has allowed that."""
    with world(tmp_path, QUEUE, relay="") as here:
        far = here.domain("inside.example")
        assert here.send("u@inside.example") == {}
        here.reactor.pass_time(2 * DAY)
        assert far.sessions == []
        [[status]] = here.bounces().values()
        assert re.fullmatch(r"5\.[14]\.[0-9]", status)


def test_the_whole_life_of_a_message(tmp_path: Path) -> None:
    """Five days of attempts by the default schedule, then a bounce."""
    with world(tmp_path) as here:
        here.domain("down.example", listening=False)
        assert here.send("u@down.example") == {}
        here.reactor.pass_time(4.5 * DAY)
        assert here.bounces() == {}
        here.reactor.pass_time(DAY)
        [[status]] = here.bounces().values()
        assert re.fullmatch(r"5\.4\.[0-9]", status)
