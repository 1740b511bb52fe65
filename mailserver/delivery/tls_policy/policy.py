"""The requirement for TLS with one host, from the configuration and from what the domain publishes.

The first of these that applies decides:

    relay.tls_domains, relay.tls = "none"    the administrator has decided about this domain, or about all
    DANE                                     secure TLSA records of the host (RFC 7672)
    MTA-STS                                  the policy of the domain (RFC 8461 section 2: DANE goes first)
    relay.tls

A host that fails its requirement gets no mail; that is temporary, because policies and certificates change.
"""

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.delivery.interfaces import ITLSPolicy
from mailserver.delivery.smtp.configured_tls import ConfiguredTLS
from mailserver.delivery.tls_policy.dane import DANE
from mailserver.delivery.tls_policy.results import AppliedPolicy, TLSResults
from mailserver.delivery.tls_policy.sts import MTASTS
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement

_MTA_STS = "MTA-STS"
_NOT_LISTED = "the MTA-STS policy of the domain does not list this host"


@attrs.frozen
class PublishedRequirement(TLSRequirement):
    """A requirement with the policy that is applied, for reports."""

    applied: AppliedPolicy = None


@implementer(ITLSPolicy)
class PublishedTLSPolicy:
    """``results`` counts what happens, for reports."""

    def __init__(self, configured: ConfiguredTLS, dane: DANE, sts: MTASTS, results: TLSResults) -> None:
        self._configured = configured
        self._dane = dane
        self._sts = sts
        self._results = results

    def policy_for(self, domain: str, host: str, secure: bool) -> Deferred[TLSRequirement]:
        """See :class:`~mailserver.delivery.interfaces.ITLSPolicy`."""
        return Deferred.fromCoroutine(self._policy_for(domain, host, secure))

    def connected(self, domain: str, host: str, requirement: TLSRequirement, problem: str) -> None:
        """See :class:`~mailserver.delivery.interfaces.ITLSPolicy`."""
        if isinstance(requirement, PublishedRequirement):
            self._results.count(domain, requirement.applied, host, problem)

    async def _policy_for(self, domain: str, host: str, secure: bool) -> TLSRequirement:
        configured = self._configured.requirement(domain)
        if (
            self._configured.decides(domain)
            or configured.level is TLSLevel.NONE
            or domain.startswith("[")  # a literal has neither MX hosts nor policies
        ):
            return configured
        if secure and (found := await self._dane.requirement(domain, host)):
            return _published(*found)
        policy = await self._sts.policy(domain)
        if policy is None or policy.mode == "none":
            return _published(configured, None)
        is_listed = policy.matches(host)
        if policy.mode == "enforce":
            refused = "" if is_listed else _NOT_LISTED
            configured = TLSRequirement(TLSLevel.VERIFIED, _MTA_STS, refused=refused)
        requirement = _published(configured, policy)
        if not is_listed:
            self.connected(domain, host, requirement, "validation-failure")
        return requirement


def _published(requirement: TLSRequirement, applied: AppliedPolicy) -> PublishedRequirement:
    return PublishedRequirement(
        requirement.level, requirement.rule, requirement.check, requirement.refused, applied
    )
