"""The contracts of delivery engines: the TLS policy that ``smtp`` asks and ``tls_policy`` answers.

They are not in ``mailserver.interfaces``, because only this package uses them.
"""

from twisted.internet.defer import Deferred
from zope.interface import Interface

from mailserver.mail.tls_requirement import TLSRequirement


class ITLSPolicy(Interface):
    """Decides which TLS a connection to another server needs."""

    def policy_for(domain: str, host: str, secure: bool) -> "Deferred[TLSRequirement]":
        """The requirement for mail to ``domain`` over ``host``, which its MX records name. ``secure``: DNSSEC
        has validated these records. Fails with :class:`~mailserver.errors.DNSFailure` if the requirement is
        unknown now; then the host is not used.
        """

    def connected(domain: str, host: str, requirement: TLSRequirement, problem: str) -> None:
        """Learn the result of TLS with a host: "" for success, or the problem as a result type of RFC 8460
        section 4.3. A problem does not prevent mail that does not require TLS.
        """
