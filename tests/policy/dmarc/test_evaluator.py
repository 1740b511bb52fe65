"""DMARC results: alignment, tree walks and policies, with the examples of RFC 9989 appendix B."""

import pytest

from mailserver.policy.dmarc.evaluator import evaluate_dmarc
from tests.support.dkim import evaluated

REJECT = b"v=DMARC1; p=reject"
SIMPLE = {"_dmarc.example.com": [REJECT]}


def evaluate(author, zone, spf="", dkim=(), asked=None):
    head = f"From: A <sender@{author}>\r\nSubject: here's a sample\r\n".encode()
    return evaluated(evaluate_dmarc(head, spf=spf, dkim=dkim), zone, asked)


def strict(tag: str) -> dict[str, list[bytes]]:
    return {"_dmarc.example.com": [REJECT + f"; {tag}=s".encode()]}


@pytest.mark.parametrize(
    ("author", "zone", "spf", "dkim", "aligned_by"),
    [
        # appendix B.1
        ("example.com", SIMPLE, "example.com", [], "spf"),
        ("example.com", SIMPLE, "child.example.com", [], "spf"),
        ("child.example.com", SIMPLE, "example.net", [], ""),
        ("example.com", SIMPLE, "", ["example.com"], "dkim"),
        ("child.example.com", SIMPLE, "", ["example.com"], "dkim"),
        ("child.example.com", SIMPLE, "", ["example.net"], ""),
        # table 1 of section 4.4
        ("news.example.com", SIMPLE, "", ["foo.example.com"], "dkim"),
        ("news.example.com", SIMPLE, "", ["news.example.com"], "dkim"),
        ("news.example.com", SIMPLE, "", ["foo.example.net"], ""),
        # strict
        ("example.com", strict("adkim"), "", ["example.com"], "dkim"),
        ("example.com", strict("adkim"), "", ["child.example.com"], ""),
        ("example.com", strict("adkim"), "child.example.com", ["child.example.com"], "spf"),
        ("example.com", strict("aspf"), "example.com", [], "spf"),
        ("example.com", strict("aspf"), "child.example.com", [], ""),
        ("example.com", strict("aspf"), "child.example.com", ["child.example.com"], "dkim"),
        # names are compared without case, and by whole labels
        ("EXAMPLE.com", SIMPLE, "", ["Example.COM"], "dkim"),
        ("example.com", SIMPLE, "badexample.com", ["le.com", "com"], ""),
        (
            "b\u00fccher.example",
            {"_dmarc.xn--bcher-kva.example": [REJECT]},
            "",
            ["xn--bcher-kva.example"],
            "dkim",
        ),
        # any one of several is enough
        ("example.com", SIMPLE, "example.net", ["example.net", "a.example.org", "a.example.com"], "dkim"),
        # nothing is proved
        ("example.com", SIMPLE, "", [], ""),
        # two organizations below one domain
        (
            "a.example.com",
            {**SIMPLE, "_dmarc.b.example.com": [REJECT + b";psd=n"]},
            "",
            ["b.example.com"],
            "",
        ),
        ("a.example.com", {**SIMPLE, "_dmarc.a.example.com": [REJECT + b";psd=n"]}, "", ["example.com"], ""),
        ("a.example.com", {**SIMPLE, "_dmarc.a.example.com": [REJECT]}, "", ["b.example.com"], "dkim"),
        ("a.example.com", {"_dmarc.example.com": [REJECT + b";psd=y"]}, "", ["b.example.com"], ""),
        ("a.example.com", {"_dmarc.example.com": [REJECT + b";psd=y"]}, "", ["b.a.example.com"], "dkim"),
    ],
)
def test_alignment(author, zone, spf, dkim, aligned_by):
    found = evaluate(author, zone, spf, dkim)
    assert (found.result, found.aligned_by, found.problem) == (
        "pass" if aligned_by else "fail",
        aligned_by,
        "",
    )
    assert found.policy == ("none" if aligned_by else "reject")


BANK = {
    "_dmarc.bank.example": [b"v=DMARC1; p=none; sp=reject; psd=y"],
    "_dmarc.giant.bank.example": [b"v=DMARC1; p=quarantine"],
    "mega.bank.example": [b"x"],
}


@pytest.mark.parametrize(
    ("author", "zone", "spf", "dkim", "org_domain", "asked"),
    [
        pytest.param(
            "example.com", {**SIMPLE, "_dmarc.signing.example.com": [REJECT]}, "", "signing.example.com",
            "example.com", "example.com com signing.example.com", id="B.4.1",
        ),
        pytest.param(
            "a.b.c.d.e.f.g.h.i.j.k.example.com", {**SIMPLE, "_dmarc.signing.example.com": [REJECT]},
            "example.com", "signing.example.com", "example.com",
            "a.b.c.d.e.f.g.h.i.j.k.example.com g.h.i.j.k.example.com h.i.j.k.example.com i.j.k.example.com "
            "j.k.example.com k.example.com example.com com signing.example.com", id="B.4.2",
        ),
        pytest.param(
            "giant.bank.example", BANK, "mail.giant.bank.example", "mail.mega.bank.example",
            "giant.bank.example", "giant.bank.example bank.example mail.giant.bank.example", id="B.4.3",
        ),
        pytest.param(
            "mail.a.b.c.d.e.f.g.example.com", SIMPLE, "", "example.com", "example.com",
            "mail.a.b.c.d.e.f.g.example.com c.d.e.f.g.example.com d.e.f.g.example.com e.f.g.example.com "
            "f.g.example.com g.example.com example.com com", id="5.1.7",
        ),
        pytest.param("example.com", SIMPLE, "", "example.com", "example.com", "example.com", id="same"),
        pytest.param(
            "a.example.com", {**SIMPLE, "_dmarc.a.example.com": [REJECT + b"; psd=n"]}, "", "b.a.example.com",
            "a.example.com", "a.example.com b.a.example.com", id="psd=n",
        ),
        pytest.param("a.example.com", SIMPLE, "", "b.example.org", "example.com",
                     "a.example.com example.com com", id="another top-level domain"),
    ],
)  # fmt: skip
def test_tree_walks(author, zone, spf, dkim, org_domain, asked):
    names: list[str] = []
    found = evaluate(author, zone, spf, [dkim], names)
    assert found.org_domain == org_domain
    assert names == [f"_dmarc.{name}" for name in asked.split()]
    assert found.result == ("fail" if "org" in dkim else "pass")


@pytest.mark.parametrize(
    ("author", "records", "policy"),
    [
        ("example.com", "p=reject", "reject"),
        ("example.com", "p=quarantine", "quarantine"),
        ("example.com", "p=none; sp=reject; np=reject", "none"),
        ("example.com", "psd=n", "none"),
        ("example.com", "p=reject; t=y", "quarantine"),
        ("example.com", "p=quarantine; t=y", "none"),
        ("example.com", "p=none; t=y", "none"),
        ("example.com", "p=reject; t=n", "reject"),
        ("example.com", "p=reject; pct=0; rf=afrf; ri=1", "reject"),
        ("real.example.com", "p=reject", "reject"),
        ("real.example.com", "p=reject; sp=none", "none"),
        ("real.example.com", "p=none; sp=quarantine; np=reject", "quarantine"),
        ("real.example.com", "p=none; sp=reject; t=y", "quarantine"),
        ("gone.example.com", "p=none; sp=quarantine; np=reject", "reject"),
        ("gone.example.com", "p=none; sp=quarantine; np=reject; t=y", "quarantine"),
        ("gone.example.com", "p=reject; np=none", "none"),
        ("gone.example.com", "p=none; sp=quarantine", "quarantine"),
        ("gone.example.com", "p=quarantine", "quarantine"),
        # a policy of the subdomain itself: its own tags, and not the others
        ("own.example.com", "p=none; sp=none; np=none", "quarantine"),
    ],
)
def test_policies(author, records, policy):
    zone = {
        "_dmarc.example.com": [f"v=DMARC1; {records}".encode()],
        "real.example.com": [b"something"],
        "_dmarc.own.example.com": [b"v=DMARC1; p=quarantine; sp=reject"],
    }
    found = evaluate(author, zone)
    assert (found.result, found.policy) == ("fail", policy)


@pytest.mark.parametrize(
    ("author", "policy", "domain"),
    [
        ("giant.bank.example", "quarantine", "giant.bank.example"),
        ("x.giant.bank.example", "quarantine", "giant.bank.example"),
        # an organization without a policy has that of the public suffix
        ("mega.bank.example", "reject", "bank.example"),
        ("x.mega.bank.example", "reject", "bank.example"),
        ("bank.example", "none", "bank.example"),
    ],
)
def test_public_suffixes(author, policy, domain):
    found = evaluate(author, BANK)
    assert found.record is not None
    assert (found.result, found.policy, found.record.domain) == ("fail", policy, domain)


def test_a_public_suffix_is_its_own_organization():
    found = evaluate("bank.example", BANK, "", ["giant.bank.example"])
    assert (found.result, found.org_domain) == ("fail", "bank.example")


@pytest.mark.parametrize(
    ("zone", "result", "policy", "problem"),
    [
        ({}, "none", "none", "no policy"),
        ({"_dmarc.example.com": [b"v=DMARC2; p=reject"]}, "none", "none", "no policy"),
        ({"_dmarc.example.com": [REJECT, REJECT]}, "none", "none", "no policy"),
        ({"_dmarc.example.com": [REJECT, b"v=spf1 -all"]}, "fail", "reject", ""),
        ({"_dmarc.example.com": [b"v=DMARC1; p=x"]}, "permerror", "none", "malformed policy of example.com"),
        ({"_dmarc.example.com": [b"v=DMARC1; p=x; rua=mailto:a@example.com"]}, "fail", "none", ""),
        ({"_dmarc.example.com": None}, "temperror", "none", "policy could not be looked up"),
        ({"_dmarc.com": None}, "temperror", "none", "policy could not be looked up"),
    ],
)
def test_problems(zone, result, policy, problem):
    found = evaluate("example.com", zone)
    assert (found.result, found.policy, found.problem) == (result, policy, problem)


def test_failures_of_dns_matter_only_if_they_can():
    zone = {**SIMPLE, "_dmarc.a.example.com": None, "_dmarc.c.example.com": None}
    assert evaluate("example.com", zone, "", ["a.example.com"]).result == "temperror"
    assert evaluate("example.com", zone, "", ["a.example.com", "b.example.com"]).result == "pass"
    assert evaluate("example.com", zone, "example.com", ["a.example.com"]).result == "pass"
    assert evaluate("b.example.com", zone, "", ["a.example.net"]).result == "fail"
    missing = {"_dmarc.example.com": [b"v=DMARC1; p=none; np=reject"], "b.example.com": None}
    assert evaluate("b.example.com", missing).result == "temperror"


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"Subject: x\r\n", "no From field"),
        (b"From: a@example.com\r\nFrom: a@example.com\r\n", "several From fields"),
        (b"From: a@example.com\r\nfrom\t: b@example.org\r\n", "several From fields"),
        (b"From: a@example.com\r\nX: y\nFrom: b@example.org\r\n", "several From fields"),
        (b"From: a@example.com\r\nX: y\rFrom: b@example.org\r\n", "several From fields"),
        (b"From: a@example.com, b@example.org\r\n", "several domains in From"),
        (b"From: undisclosed:;\r\n", "no address in From"),
        (b"From: \r\n", "no address in From"),
        (b"From: nobody\r\n", "malformed From field"),
        (b"From: a@exa mple..com\r\n", "malformed From field"),
        (b"From: <a@example.com\r\n", "malformed From field"),
        (b"From: a@\xff.com\r\n", "malformed From field"),
        (b"From: " + b"a@example.com," * 1001 + b"\r\n", "too many addresses in From"),
        (b"X: " + b"x" * 300_000 + b"\r\nFrom: a@example.com\r\n", "header of more than 262144 octets"),
    ],
)
def test_messages_without_one_author_domain_never_pass(head, problem):
    everything = ["example.com", "example.org"]
    found = evaluated(evaluate_dmarc(head, spf="example.com", dkim=everything), SIMPLE)
    assert (found.result, found.problem) == ("permerror", problem)


@pytest.mark.parametrize(
    "field",
    [
        'From: a@example.com, (x) "b@example.org" <b@EXAMPLE.com>',
        "FROM:\r\n people: a@example.com, <b@example.com>;",
        "from : =?utf-8?q?x=40example.org?= <a@example.com>",
    ],
)
def test_several_addresses_may_have_one_domain(field):
    found = evaluated(evaluate_dmarc(f"{field}\r\n".encode(), spf="", dkim=["example.com"]), SIMPLE)
    assert (found.result, found.domain) == ("pass", "example.com")


def test_names_that_dns_cannot_have():
    assert evaluate("[192.0.2.1]", SIMPLE).result == "none"
    long = ".".join(["x" * 60] * 4) + ".example"
    assert evaluate(long, {"_dmarc.example": [REJECT]}).result == "fail"
