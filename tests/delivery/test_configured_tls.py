"""The TLS that relay.tls and relay.tls_domains require."""

from mailserver.delivery.smtp.configured_tls import ConfiguredTLS
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement

POLICY = ConfiguredTLS("opportunistic", {"bank.example": "verified", "old.example": "none"})


def test_a_domain_of_its_own_comes_before_the_default() -> None:
    default = TLSRequirement(TLSLevel.OPPORTUNISTIC, "relay.tls")
    assert POLICY.requirement("example.net") == default
    assert POLICY.requirement("bank.example") == TLSRequirement(TLSLevel.VERIFIED, "relay.tls_domains")
    assert POLICY.requirement("old.example").level is TLSLevel.NONE
    # The domain counts, and not the host.
    asked = POLICY.policy_for("example.net", "bank.example", secure=True)
    assert asked.result == default
