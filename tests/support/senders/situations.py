"""Situations of arriving mail, and what the server makes of each in its three modes.

``results`` are those of SPF, DKIM, DMARC and, if there is a chain, ARC; several signatures have a comma.
``has`` is a part of Authentication-Results. ``enforced`` is the reply with ``dmarc = "enforce"``, and
``refused`` with ``spf = "refuse"``. With the defaults each message comes in.
"""

from functools import partial

import attrs

from tests.support.senders.internet import EVIL, FORWARDER, GOOD, LIST, SIX
from tests.support.senders.mail import BODY, FOOTER, arc, dkim, mail

OK = "250"
DMARC_FAILS, SPF_FAILS, NO_AUTHOR, UNDECIDED = "550 5.7.26", "550 5.7.23", "550 5.7.1", "451 4.4.3"
US = "mail.example.org"


@attrs.frozen
class Situation:
    name: str
    message: bytes
    results: str
    enforced: str = OK
    refused: str = OK
    has: str = attrs.field(default="", kw_only=True)
    sender: str = attrs.field(default="a@good.example", kw_only=True)
    ip: str = attrs.field(default=GOOD, kw_only=True)
    helo: str = attrs.field(default="mx.good.example", kw_only=True)
    to: str = attrs.field(default="alice@example.org", kw_only=True)


def usual(name: str, domain: str, results: str, enforced: str = OK, refused: str = OK) -> Situation:
    """A message for a domain from the server of good.example."""
    return Situation(name, mail(f"a@{domain}"), results, enforced, refused, sender=f"a@{domain}")


# A stranger with a domain of its own, which passes SPF; a mailing list; a forwarder with SRS.
spoofed = partial(Situation, sender="x@evil.example", ip=EVIL, helo="evil.example")
listed = partial(Situation, sender="club-1@lists.example", ip=LIST, helo="lists.example")
forwarded = partial(
    Situation, sender="SRS0=x=y=good.example=a@forwarder.example", ip=FORWARDER, helo="forwarder.example"
)
# The reverse-path has a domain without records.
unlisted = partial(Situation, sender="b@none.example")

SIGNED = dkim(mail())
VIA_LIST = SIGNED + FOOTER
SEEN = "lists.example; spf=pass smtp.mailfrom=good.example; dmarc=pass (p=reject) header.from=good.example"
EXPIRED = " t=1600000000; x=1600000001;"
LARGE = ["X-Long: " + "x" * 900] * 300
FORGED = f"Authentication-Results: {US}; dmarc=pass header.from=bank.example"

GOOD_MAIL = [
    Situation("spf", mail(), "pass none pass", has="smtp.mailfrom=a@good.example"),
    Situation("dkim and spf", SIGNED, "pass pass pass", has="header.d=good.example"),
    Situation("ed25519", dkim(mail(), kind="ed25519"), "pass pass pass", has="header.a=ed25519-sha256"),
    Situation("ipv6 client", mail(), "pass none pass", ip=SIX),
    Situation("null sender", mail(), "pass none pass", has="smtp.helo=mx.good.example", sender=""),
    Situation("aligned sub-domain", mail(), "pass none pass", sender="b@news.good.example"),
    unlisted("dkim of a sub-domain", dkim(mail(), "news.good.example"), "none pass pass"),
    unlisted("two signatures", dkim(dkim(mail(), "evil.example")), "none pass,pass pass"),
    unlisted("one good signature", dkim(dkim(mail(), "none.example")), "none pass,permerror pass"),
    usual("international author", "xn--bcher-kva.example", "pass none pass"),
    Situation(
        "author in U-labels",
        mail("a@b\u00fccher.example"),
        "pass none pass",
        has="header.from=xn--bcher-kva.example",
        sender="a@xn--bcher-kva.example",
    ),
    usual("no records", "none.example", "none none none"),
]
PASSED_ON = [
    Situation("forwarded", SIGNED, "fail pass pass", OK, SPF_FAILS, ip=FORWARDER),
    Situation("forwarded, not signed", mail(), "fail none fail", DMARC_FAILS, SPF_FAILS, ip=FORWARDER),
    forwarded("SRS", SIGNED, "pass pass pass"),
    forwarded("SRS, not signed", mail(), "pass none fail", DMARC_FAILS),
    listed("list with a footer", VIA_LIST, "pass fail fail", DMARC_FAILS),
    listed("list that rewrites From", dkim(mail("a@lists.example"), "lists.example"), "pass pass none"),
    listed("trusted seal", arc(VIA_LIST, "lists.example", SEEN), "pass fail fail pass"),
    listed("other seal", arc(VIA_LIST, "evil.example", SEEN), "pass fail fail pass", DMARC_FAILS),
    listed(
        "trusted seal of a failure",
        arc(VIA_LIST, "lists.example", SEEN.replace("dmarc=pass", "dmarc=fail")),
        "pass fail fail pass",
        DMARC_FAILS,
    ),
    listed(
        "trusted seal of another author",
        arc(VIA_LIST, "lists.example", SEEN.replace("from=good", "from=evil")),
        "pass fail fail pass",
        DMARC_FAILS,
    ),
    listed(
        "broken seal", arc(VIA_LIST, "lists.example", SEEN) + b"more\r\n", "pass fail fail fail", DMARC_FAILS
    ),
]
SPOOFED = [
    Situation("spoofed", mail(), "fail none fail", DMARC_FAILS, SPF_FAILS, ip=EVIL, helo="evil.example"),
    spoofed("own envelope", mail(), "pass none fail", DMARC_FAILS, has="policy.dmarc=reject"),
    spoofed("own signature", dkim(mail(), "evil.example"), "pass pass fail", DMARC_FAILS),
    spoofed("changed", SIGNED.replace(b"Subject: h", b"Subject: b"), "pass fail fail", DMARC_FAILS),
    spoofed("sub-domain", mail("a@www.good.example"), "pass none fail", DMARC_FAILS),
    spoofed("below a public suffix", mail("a@shop.bank"), "pass none fail", DMARC_FAILS),
    spoofed("display name", mail('"a@good.example" <x@evil.example>'), "pass none none"),
    spoofed("slow domain of the spoofer", dkim(mail(), "slow.example"), "pass temperror fail", DMARC_FAILS),
    spoofed("bounce", mail(), "pass none fail", DMARC_FAILS, sender="", has="smtp.helo=evil.example"),
    Situation("odd HELO", mail(), "none none fail", DMARC_FAILS, sender="", helo="[192.0.2.1]"),
    spoofed("two From", mail("a@evil.example", "From: a@good.example"), "pass none permerror", NO_AUTHOR),
    spoofed("no From", mail(None), "pass none permerror", NO_AUTHOR),
    spoofed("two authors", mail("a@evil.example, b@good.example"), "pass none permerror", NO_AUTHOR),
    spoofed("no address in From", mail("good.example"), "pass none permerror", NO_AUTHOR),
    spoofed("large header", mail("a@good.example", *LARGE), "pass policy permerror fail", NO_AUTHOR),
    spoofed("forged results", mail("x@evil.example", FORGED), "pass none none"),
    spoofed("forged, large", mail("x@evil.example", *LARGE, FORGED), "pass policy permerror fail", NO_AUTHOR),
]
SPF = [
    usual("softfail", "soft.example", "softfail none fail", DMARC_FAILS),
    usual("neutral", "neutral.example", "neutral none none"),
    usual("two records", "two.example", "permerror none none"),
    usual("malformed record", "syntax.example", "permerror none none"),
    usual("too many terms", "many.example", "permerror none none"),
    usual("too many void terms", "void.example", "permerror none none"),
    usual("record that leads to itself", "loop.example", "permerror none none"),
    usual("SPF that fails in DNS", "broken-spf.example", "temperror none temperror", UNDECIDED),
    usual("SPF that answers late", "slow-spf.example", "temperror none none"),
    usual("explained", "explained.example", "fail none fail", DMARC_FAILS, SPF_FAILS),
    Situation("to postmaster", mail(), "fail none fail", DMARC_FAILS, ip=EVIL, to="postmaster@example.org"),
]
DKIM = [
    Situation("no key", dkim(mail(), selector="nothing"), "pass permerror pass"),
    Situation("revoked key", dkim(mail(), selector="revoked"), "pass permerror pass"),
    unlisted("expired", dkim(mail(), tags=EXPIRED), "none fail fail", DMARC_FAILS),
    unlisted("partly signed", dkim(mail(), length=True) + FOOTER, "none pass fail", DMARC_FAILS),
    unlisted("whole length signed", dkim(mail(), length=True), "none pass pass"),
    Situation("malformed signature", b"DKIM-Signature: v=1; a\r\n" + mail(), "pass neutral pass"),
    Situation("domain in a test", dkim(mail(), selector="testing") + FOOTER, "pass neutral pass"),
    unlisted(
        "key that fails in DNS",
        dkim(mail("a@broken-key.example"), "broken-key.example", selector="broken"),
        "none temperror temperror",
        UNDECIDED,
    ),
    Situation(
        "a thousand signatures",
        b"DKIM-Signature: v=1\r\n" * 1000 + mail(body=BODY),
        f"pass {','.join(['permerror'] * 8)} pass",
    ),
]
DMARC = [
    spoofed("quarantine", mail("a@quarantine.example"), "pass none fail", has="policy.dmarc=quarantine"),
    spoofed("monitored", mail("a@monitored.example"), "pass none fail", has="policy.dmarc=none"),
    spoofed("policy in a test", mail("a@testing.example"), "pass none fail", has="policy.dmarc=quarantine"),
    Situation(
        "strict alignment",
        mail("a@strict.example"),
        "pass none fail",
        DMARC_FAILS,
        sender="b@sub.strict.example",
    ),
    spoofed("malformed policy", mail("a@malformed.example"), "pass none permerror"),
    spoofed("two policies", mail("a@two.example"), "pass none none"),
    spoofed("policy that fails in DNS", mail("a@broken-policy.example"), "pass none temperror"),
    spoofed("policy that answers late", mail("a@slow-policy.example"), "pass none temperror"),
    Situation(
        "no DNS",
        dkim(mail("a@dead.example"), "dead.example"),
        "temperror temperror temperror",
        sender="a@dead.example",
    ),
]
SITUATIONS = [*GOOD_MAIL, *PASSED_ON, *SPOOFED, *SPF, *DKIM, *DMARC]
