"""Which domains are known to accept no mail (RFC 7505)."""

from typing import Any

import pytest

from mailserver.dns.records import MX
from tests.support.delivery.relaying import Relay

RECORDS = {
    ("null.example", "MX"): [MX(0, ".")],
    ("open.example", "MX"): [MX(10, "mx.open.example")],
    ("mixed.example", "MX"): [MX(0, "."), MX(10, "mx.open.example")],
}


@pytest.mark.parametrize(
    ("domain", "options", "expected"),
    [
        ("null.example", {}, True),
        ("open.example", {}, False),
        ("mixed.example", {}, False),
        ("none.example", {}, False),
        ("[192.0.2.1]", {}, False),
        # the MX records do not count
        ("null.example", {"routes": {"null.example": "mx.example:25"}}, False),
        ("null.example", {"smarthost": "mx.example:587"}, False),
        ("null.example", {"atrn": {"null.example": ()}}, False),
    ],
)
def test_a_domain_without_mail(domain: str, options: dict[str, Any], expected: bool) -> None:
    relay = Relay(RECORDS, **options)
    assert not relay.engine.accepts_no_mail(domain)
    assert relay.resolver.asked == []
    relay.resolver.lookup(domain, "MX")
    assert relay.engine.accepts_no_mail(domain) is expected
