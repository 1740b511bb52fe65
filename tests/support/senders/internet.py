"""The fake internet of the checks of senders: the records of its domains, and what is wrong with them."""

from collections.abc import Mapping

from tests.support.dns_zone import DnsZone, Fault
from tests.support.senders.mail import key_text, txt

GOOD = "192.0.2.1"  # the mail server of good.example, and of most others
EVIL = "203.0.113.66"
FORWARDER = "198.51.100.7"
LIST = "198.51.100.9"
SIX = "2001:db8::25"

_SPF: Mapping[str, str] = {
    "good.example": f"v=spf1 ip4:{GOOD} ip6:{SIX} -all",
    "mx.good.example": "v=spf1 a -all",
    "evil.example": f"v=spf1 ip4:{EVIL} -all",
    "forwarder.example": f"v=spf1 ip4:{FORWARDER} -all",
    "lists.example": f"v=spf1 ip4:{LIST} -all",
    "news.good.example": f"v=spf1 ip4:{GOOD} -all",
    "soft.example": "v=spf1 ip4:192.0.2.99 ~all",
    "neutral.example": "v=spf1 ?all",
    "syntax.example": "v=spf1 ip4:999.1.1.1 -all",
    "many.example": "v=spf1 " + " ".join(f"exists:n{number}.many.example" for number in range(11)) + " -all",
    "void.example": "v=spf1 a:no1.example a:no2.example a:no3.example -all",
    "explained.example": "v=spf1 -all exp=why.explained.example",
    "quarantine.example": f"v=spf1 ip4:{GOOD} -all",
    "monitored.example": f"v=spf1 ip4:{GOOD} -all",
    "testing.example": f"v=spf1 ip4:{GOOD} -all",
    "strict.example": f"v=spf1 ip4:{GOOD} -all",
    "sub.strict.example": f"v=spf1 ip4:{GOOD} -all",
    "xn--bcher-kva.example": f"v=spf1 ip4:{GOOD} -all",
    "loop.example": "v=spf1 redirect=loop.example",
}
_DMARC: Mapping[str, str] = {
    "good.example": "v=DMARC1; p=reject; np=reject; sp=reject",
    "explained.example": "v=DMARC1; p=reject",
    "quarantine.example": "v=DMARC1; p=quarantine",
    "monitored.example": "v=DMARC1; p=none",
    "testing.example": "v=DMARC1; p=reject; t=y",
    "strict.example": "v=DMARC1; p=reject; adkim=s; aspf=s",
    "malformed.example": "v=DMARC1; p=banish",
    "soft.example": "v=DMARC1; p=reject",
    "broken-spf.example": "v=DMARC1; p=reject",
    "broken-key.example": "v=DMARC1; p=reject",
    "xn--bcher-kva.example": "v=DMARC1; p=reject",
    "bank": "v=DMARC1; p=reject; psd=y",
}
_KEYS = ("good.example", "evil.example", "lists.example", "forwarder.example", "news.good.example")

RECORDS = (
    *(txt(name, text) for name, text in _SPF.items()),
    *(txt(f"_dmarc.{name}", text) for name, text in _DMARC.items()),
    *(txt(f"rsa._domainkey.{name}", key_text()) for name in _KEYS),
    txt("ed25519._domainkey.good.example", key_text("ed25519")),
    txt("revoked._domainkey.good.example", "v=DKIM1; p="),
    txt("testing._domainkey.good.example", key_text(more="; t=y")),
    txt("broken._domainkey.broken-key.example", key_text()),
    txt("two.example", "v=spf1 -all"),
    txt("two.example", "v=spf1 +all"),
    txt("_dmarc.two.example", "v=DMARC1; p=reject"),
    txt("_dmarc.two.example", "v=DMARC1; p=none"),
    txt("why.explained.example", "%{i} is not one of our mail servers; see https://explained.example/%{d}"),
    f"mx.good.example A {GOOD}",
    "none.example A 192.0.2.50",
    "news.good.example A 192.0.2.51",
)
FAULTS: Mapping[str | tuple[str, str], Fault] = {
    "broken-spf.example": "servfail",
    "broken._domainkey.broken-key.example": "servfail",
    "slow-spf.example": "silence",
    "rsa._domainkey.slow.example": "silence",
    "rsa._domainkey.good.slow.example": "silence",
    "_dmarc.broken-policy.example": "servfail",
    "_dmarc.slow-policy.example": "silence",
    "dead.example": "silence",
    "_dmarc.dead.example": "silence",
    "rsa._domainkey.dead.example": "silence",
}


def internet() -> DnsZone:
    """A zone with all of it; use it as a context."""
    zone = DnsZone(*RECORDS)
    zone.faults.update(FAULTS)
    return zone
