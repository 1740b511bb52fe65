"""The contract between the resolver and all who need DNS.

It is not in ``mailserver.interfaces``, because its values belong to this package.
"""

from twisted.internet.defer import Deferred
from zope.interface import Interface

from mailserver.dns.records import DNSAnswer, RecordKind


class IResolver(Interface):
    """Looks up DNS records."""

    def lookup(name: str, kind: RecordKind) -> Deferred[DNSAnswer]:
        """The records of ``name``, a domain name of A-labels, in any case, with or without the final dot.

        Aliases (CNAME) are followed, unless ``kind`` is CNAME. A name that does not exist, or has no such
        records, is an answer. Fails with :class:`~mailserver.errors.DNSFailure` if there is no answer now.
        The Deferred may be cancelled.
        """

    def known(name: str, kind: RecordKind) -> DNSAnswer | None:
        """The answer that a lookup would have at once, if any. Asks no server."""
