"""The checks of the sender of one message: who is checked, when DNS is awaited, and what a failure does.

What the server makes of all kinds of mail is in ``e2e/test_sender_checks``.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from itertools import pairwise
from typing import Any, Literal

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from mailserver.errors import DNSFailure
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import AUTHENTICATION_FAILED, DIRECTORY_FAILED, SPF_FAILED, Accept, Defer, Refuse
from mailserver.policy import sender_examination
from mailserver.policy.dmarc.aggregate import AggregateRow
from mailserver.policy.results_filter import ResultsRemoval
from mailserver.policy.sender_authentication import SenderAuthentication
from mailserver.policy.sender_examination import SenderExamination
from mailserver.policy.sender_verdict import SenderRules
from mailserver.policy.strangers import inside
from mailserver.queue.entries import InMemoryContent
from mailserver.reception.checks import ACCEPTED, IExamination, IExaminer
from mailserver.reception.transaction import Client, LocalUser, Transaction
from tests.support.resolvers import FakeResolver
from tests.support.senders.mail import dkim, key_text, mail

HOST = "mail.example.org"
ALICE, BOSS = Address("alice", "example.org"), Address("postmaster", "example.org")
GOOD = Address("a", "good.example")
STRANGER = Client(ip="192.0.2.1", helo="mx.good.example", session="s1")
EVIL = attrs.evolve(STRANGER, ip="203.0.113.66")
TEXTS = {
    "good.example": "v=spf1 ip4:192.0.2.1 -all exp=why.good.example",
    "_dmarc.good.example": "v=DMARC1; p=reject",
    "why.good.example": "see https://good.example/%{i}",
    "rsa._domainkey.good.example": key_text(),
    "_dmarc.slow.example": "v=DMARC1; p=reject",
    "rsa._domainkey.slow.example": key_text(),
}
DEADLINE = 30.0
ENFORCE = SenderRules(dmarc="enforce")
REFUSE = SenderRules(spf="refuse")


class Checking:
    """The check with a resolver and a clock of its own."""

    def __init__(self, rules: SenderRules = ENFORCE, texts: Mapping[str, str] = TEXTS) -> None:
        self.clock = Clock()
        self.counted: list[AggregateRow] = []
        self.resolver = FakeResolver(
            {(name, "TXT"): [text.encode()] for name, text in texts.items()}, self.clock
        )
        self.check = SenderAuthentication(
            rules,
            inside([ip_network("198.51.100.0/24")]),
            self.resolver,
            self.clock,
            hostname=HOST,
            now=lambda: 1_700_000_000.0,
            count=lambda policy, row: self.counted.append(row),
        )

    def slow(self, *names: str, seconds: float = 1000.0) -> "Checking":
        for name in names:
            self.resolver.delays[name, "TXT"] = seconds
        return self

    def broken(self, *names: str) -> "Checking":
        for name in names:
            self.resolver.records[name, "TXT"] = DNSFailure("SERVFAIL")
        return self

    def begin(self, client: Client = STRANGER, sender: ReversePath = GOOD) -> Any:
        self.transaction = Transaction("id1", "listen[1]", client, sender, {})
        return self.check.examine(self.transaction)

    def end(self, examination: Any, message: bytes, cuts: Iterable[int] = ()) -> tuple[Any, bytes]:
        """The verdict, or a Deferred without one, and the octets to store."""
        places = [0, *cuts, len(message)]
        stored = [examination.feed(message[at:end]) for at, end in pairwise(places)]
        octets = b"".join([*stored, examination.finish()])
        result = examination.check_message(self.transaction, InMemoryContent(octets))
        if isinstance(result, Deferred) and hasattr(result, "result"):
            result = result.result
        return result, octets

    def verdict(self, message: bytes, client: Client = STRANGER, sender: ReversePath = GOOD) -> Any:
        return self.end(self.begin(client, sender), message)[0]


def field(verdict: Any) -> str:
    assert isinstance(verdict, Accept), verdict
    assert verdict.fields.startswith(b"Authentication-Results: ") and verdict.fields.endswith(b"\r\n")
    lines = verdict.fields[:-2].split(b"\r\n")
    assert all(line.startswith(b"\t") for line in lines[1:])
    return b" ".join(line.strip() for line in lines).decode("ascii")


# ------------------------------------------------------------ who is checked

Kind = Literal["checked", "filtered", "untouched"]


@pytest.mark.parametrize(
    ("client", "kind"),
    [
        (STRANGER, "checked"),
        (attrs.evolve(STRANGER, ip="2001:db8::1"), "checked"),
        (attrs.evolve(STRANGER, ip="::ffff:203.0.113.1"), "checked"),
        (attrs.evolve(STRANGER, ip="198.51.100.9"), "untouched"),
        (attrs.evolve(STRANGER, ip="::ffff:198.51.100.9"), "untouched"),
        (attrs.evolve(STRANGER, account=ALICE), "filtered"),
        (attrs.evolve(STRANGER, ip=""), "untouched"),
        (attrs.evolve(STRANGER, protocol="LMTPS"), "untouched"),
        (attrs.evolve(STRANGER, protocol="UTF8LMTP"), "untouched"),
        (Client(local=LocalUser(1000, "alice")), "untouched"),
    ],
)
def test_who_is_checked(client: Client, kind: Kind) -> None:
    checking = Checking(SenderRules())
    assert verifyObject(IExaminer, checking.check)
    examination = checking.begin(client)
    forged = b"Authentication-Results: mail.example.org; dmarc=pass\r\n" + mail()
    if kind == "untouched":
        assert examination is None
        return
    assert verifyObject(IExamination, examination)
    assert isinstance(examination, SenderExamination if kind == "checked" else ResultsRemoval)
    verdict, stored = checking.end(examination, forged)
    assert stored == mail()
    assert bool(verdict.fields) == (kind == "checked")
    assert bool(checking.resolver.asked) == (kind == "checked")


def test_what_is_off_is_not_shown() -> None:
    """DMARC needs the results of SPF and DKIM nevertheless."""
    for spf, signatures, dmarc, shown in (
        ("off", "off", "mark", "dmarc=pass"),
        ("off", "mark", "off", "dkim=pass"),
        ("mark", "off", "off", "spf=fail"),
    ):
        rules = SenderRules(spf=spf, dkim=signatures, dmarc=dmarc)  # type: ignore[arg-type]
        found = field(Checking(rules).verdict(dkim(mail()), EVIL))
        assert found.startswith(f"Authentication-Results: {HOST}; {shown} ") and ";" not in found[41:]
    assert SenderRules(spf="off", dkim="off", dmarc="off").are_off


@pytest.mark.parametrize(
    "message", [dkim(mail()), dkim(mail()) + b"x", b"\r\nbody", b"", b"From: a@b.example"]
)
def test_a_message_in_pieces(message: bytes) -> None:
    whole = field(Checking(SenderRules()).verdict(message))
    for cuts in (range(1, len(message)), *([cut] for cut in range(1, len(message), 7))):
        checking = Checking(SenderRules())
        verdict, octets = checking.end(checking.begin(), message, cuts)
        assert octets == message
        assert field(verdict) == whole


# ------------------------------------------------------------ waiting for DNS


def test_dns_delays_no_command() -> None:
    checking = Checking(SenderRules()).slow("good.example", seconds=5.0)
    examination = checking.begin()
    assert checking.resolver.asked == [("good.example", "TXT")]
    assert examination.check_recipient(checking.transaction, ALICE) is ACCEPTED
    checking.clock.advance(5.0)
    assert "spf=pass" in field(checking.end(examination, mail())[0])
    assert not checking.clock.getDelayedCalls()


def test_spf_rejects() -> None:
    checking = Checking(REFUSE).slow("good.example", seconds=5.0)
    examination = checking.begin(EVIL)
    verdict = examination.check_recipient(checking.transaction, ALICE)
    assert examination.check_recipient(checking.transaction, BOSS) is ACCEPTED
    with capturedLogs() as events:
        checking.clock.advance(5.0)
        refusal = verdict.result
        assert isinstance(refusal, Refuse)
        assert (refusal.status, refusal.key) == (SPF_FAILED, "policy.spf")
        assert refusal.text.splitlines() == [
            "SPF check failed: good.example does not permit 203.0.113.66 to send its mail",
            "The domain good.example explains:",
            "see https://good.example/203.0.113.66",
        ]
        assert examination.check_recipient(checking.transaction, ALICE) == refusal
    [event] = events
    assert (event["id"], event["spf"]) == ("id1", "fail good.example (-all)")
    assert (event["verdict"], event["rule"]) == ("rejected", "policy.spf")


def test_the_client_gives_up() -> None:
    checking = Checking(REFUSE).slow("good.example", "rsa._domainkey.good.example")
    examination = checking.begin()
    with capturedLogs() as events:
        verdict = examination.check_recipient(checking.transaction, ALICE)
        examination.feed(dkim(mail()))
        assert len(checking.clock.getDelayedCalls()) == 4  # each lookup and its time limit
        examination.stop()
        assert not checking.clock.getDelayedCalls()
        assert verdict.result is ACCEPTED
    assert not events


ALL_NAMES = tuple(TEXTS)


@pytest.mark.parametrize("names", [ALL_NAMES, ("good.example",), ("_dmarc.good.example",)])
def test_mail_comes_in_within_the_deadline(names: tuple[str, ...]) -> None:
    checking = Checking().slow(*names)
    verdict, _ = checking.end(checking.begin(), dkim(mail()))
    assert isinstance(verdict, Deferred) and not verdict.called
    for _ in range(int(DEADLINE) + 1):
        checking.clock.advance(1.0)
    assert "=temperror" in field(verdict.result)
    assert not checking.clock.getDelayedCalls()


def test_a_slow_domain_keeps_no_other_from_being_checked() -> None:
    """A spoofer cannot make the time of DMARC run out."""
    checking = Checking().slow("rsa._domainkey.slow.example")
    message = dkim(dkim(mail(), "slow.example"), "slow.example")
    verdict, _ = checking.end(checking.begin(EVIL), message)
    checking.clock.pump([1.0] * int(DEADLINE))
    assert isinstance(verdict.result, Refuse) and verdict.result.status == AUTHENTICATION_FAILED
    message = dkim(dkim(mail(), "slow.example"))
    checking = Checking().slow("rsa._domainkey.slow.example")
    verdict, _ = checking.end(checking.begin(EVIL), message)
    checking.clock.pump([1.0] * int(DEADLINE))
    assert "dkim=pass header.d=good.example" in field(verdict.result)


@pytest.mark.parametrize(
    ("message", "broken", "verdict"),
    [
        (dkim(mail()), "rsa._domainkey.good.example", Defer),
        (mail(), "good.example", Defer),
        (dkim(mail(), "slow.example"), "rsa._domainkey.slow.example", Refuse),
        (mail(), "_dmarc.good.example", Accept),
        (dkim(mail()), "good.example", Accept),
    ],
)
def test_dns_that_fails_defers(message: bytes, broken: str, verdict: type) -> None:
    """Only what could prove the author counts. Nothing is rejected because DNS fails."""
    found = Checking().broken(broken).verdict(message, EVIL)
    assert type(found) is verdict
    if isinstance(found, Defer):
        assert (found.status, found.key) == (DIRECTORY_FAILED, "policy.dmarc")


# ------------------------------------------------------------ mistakes in a check


def failing(*args: object, **options: object) -> Any:
    raise ZeroDivisionError("a mistake")


@pytest.mark.parametrize("on_error", ["accept", "defer"])
@pytest.mark.parametrize(
    ("broken", "check", "result"),
    [
        ("check_spf", "SPF", "spf=temperror"),
        ("Verifier", "DKIM", "dkim=temperror"),
        ("Verifier.feed", "DKIM", "dkim=temperror"),
        ("Verifier.evaluate", "DKIM", "dkim=temperror"),
        ("ChainVerifier", "ARC", "dmarc=pass"),
        ("check_dmarc", "DMARC", "dmarc=temperror"),
        ("authentication_results", "results", ""),
    ],
)
def test_a_check_that_raises(
    broken: str, check: str, result: str, on_error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, method = broken.rpartition(".")
    target = getattr(sender_examination, place) if place else sender_examination
    monkeypatch.setattr(target, method, failing)
    rules = attrs.evolve(ENFORCE, on_error=on_error, trusted_forwarders=frozenset({"lists.example"}))
    with capturedLogs() as events:
        verdict = Checking(rules).verdict(dkim(mail()))
    failures = [event for event in events if event["log_namespace"] == "mailserver.SenderCheckFailed"]
    assert [event["check"] for event in failures] == [check]
    assert failures[0]["log_failure"].check(ZeroDivisionError)
    if on_error == "defer":
        assert isinstance(verdict, Defer) and verdict.key == "policy.on_error"
    elif result:
        assert result in field(verdict)
    else:
        assert verdict is ACCEPTED


# ------------------------------------------------------------ what strangers write


@pytest.mark.parametrize(
    "helo",
    [
        "x; dmarc=pass header.from=bank.example",
        'x" (',
        "\udcff\r\nX-Injected: yes",
        "a" * 5000,
        "(",
        "",
        "é.example",
    ],
)
def test_names_of_strangers_inject_nothing(helo: str) -> None:
    client = attrs.evolve(STRANGER, helo=helo)
    text = field(Checking(SenderRules()).verdict(mail("a@none.example"), client, None))
    assert "; dkim=none; dmarc=none header.from=none.example" in text
    assert text.count("dmarc=") == 1
    assert len(text) < 1000


def test_domains_of_strangers_inject_nothing() -> None:
    sender = Address('a"; dmarc=pass', "none.example")
    text = field(Checking(SenderRules()).verdict(mail("a@none.example"), STRANGER, sender))
    assert "smtp.mailfrom=none.example" in text and text.count("dmarc=") == 1


def test_many_signatures_ask_few_questions() -> None:
    checking = Checking()
    message = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=YQ==; b=YQ==\r\n" % number
        for number in range(1000)
    )
    verdict = checking.verdict(message + mail())
    assert field(verdict).count("dkim=") == 8
    assert len([name for name, _ in checking.resolver.asked if "_domainkey" in name]) == 8


# ------------------------------------------------------------ reports to the domain


def test_a_message_does_not_wait_for_its_report() -> None:
    """Only the report needs to know whether SPF proves the author, too."""
    wanted = {
        **TEXTS,
        "_dmarc.good.example": "v=DMARC1; p=reject; rua=mailto:r@good.example",
        "sub.good.example": "v=spf1 ip4:192.0.2.1 -all",
    }
    checking = Checking(texts=wanted).slow("_dmarc.sub.good.example")
    verdict = checking.verdict(dkim(mail()), sender=Address("a", "sub.good.example"))
    assert isinstance(verdict, Accept) and checking.counted == []
    checking.clock.advance(DEADLINE)
    [row] = checking.counted
    assert (row.dkim_aligned, row.spf_aligned, row.disposition) == (True, False, "pass")
    assert checking.clock.getDelayedCalls() == []


def test_a_report_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bool:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(sender_examination, "is_counted", fail)
    with capturedLogs() as logs:
        verdict = Checking(SenderRules(on_error="defer")).verdict(mail())
    assert isinstance(verdict, Accept)
    assert [event["log_event"].check for event in logs if event.get("log_failure")] == ["DMARC report"]
