"""Where the aggregate reports of a policy domain go (RFC 9990, "Verifying External Destinations").

    URI  = "mailto:" addr-spec [ "!" 1*DIGIT [ "k" / "m" / "g" / "t" ] ]

Other kinds of URIs get no report. The size is that of a message, in octets or by powers of 1024: RFC 9989
does not mention it any more, and many records still have it.

An address outside of the organization of the policy domain gets a report only if its domain wants it. Else
anybody could publish a record that sends reports to somebody who has not asked for them.
"""

import re
from collections.abc import Sequence

import attrs

from mailserver.mail.address import Address
from mailserver.mail.daily_report import mailto_address
from mailserver.policy.dmarc.record import DMARCRecord, read_dmarc
from mailserver.policy.dmarc.tree import MAX_NAME, NoDNSAnswer, PolicyTree
from mailserver.policy.questions import Evaluation, PolicyQuestion

_SIZE = re.compile(r"(.*)!([0-9]{1,9})([kmgt]?)", re.IGNORECASE)
_POWERS = " kmgt"


@attrs.frozen
class ReportDestination:
    """An address for reports. ``limit`` is the size in octets that a message may have, None for any."""

    address: Address
    limit: int | None = None

    def takes(self, octets: int) -> bool:
        """Whether a message of so many octets may be sent there."""
        return self.limit is None or octets <= self.limit


def read_destination(uri: str) -> ReportDestination | None:
    """The address in a URI, None if no report can be sent there."""
    limit = None
    if sized := _SIZE.fullmatch(uri):
        uri, limit = sized[1], int(sized[2]) << (10 * _POWERS.index(sized[3].lower() or " "))
    address = mailto_address(uri)
    if address is None or not str(address).isascii() or address.domain.startswith("["):
        return None
    return ReportDestination(address, limit)


def report_destinations(record: DMARCRecord) -> Evaluation[Sequence[ReportDestination]]:
    """The addresses that get the reports of a policy, in their order, each of them once."""
    found: dict[Address, ReportDestination] = {}
    tree = PolicyTree()
    for uri in record.rua:
        wanted = read_destination(uri)
        if wanted is None:
            continue
        host = wanted.address.domain
        if (yield from _is_own(tree, record.domain, host)):
            allowed: Sequence[ReportDestination] = (wanted,)
        else:
            allowed = yield from _external(record.domain, wanted)
        for one in allowed:
            found.setdefault(one.address, one)
    return tuple(found.values())


def _is_own(tree: PolicyTree, domain: str, host: str) -> Evaluation[bool]:
    """Whether a host belongs to the organization of a domain. False if that is unknown now."""
    if host == domain:
        return True
    if host.rpartition(".")[2] != domain.rpartition(".")[2]:
        return False
    try:
        own = yield from tree.organization(domain)
        return own == (yield from tree.organization(host))
    except NoDNSAnswer:
        return False


def _external(domain: str, wanted: ReportDestination) -> Evaluation[Sequence[ReportDestination]]:
    """The addresses that a domain has for the reports of another one; none without its consent."""
    host = wanted.address.domain
    question = PolicyQuestion(f"{domain}._report._dmarc.{host}")
    if len(question.name) > MAX_NAME:
        return ()
    reply = (yield (question,))[question]
    consents = [consent for text in reply.records if (consent := read_dmarc(text, host))]
    if reply.failed or not consents:
        return ()
    others = [read_destination(uri) for consent in consents for uri in consent.rua]
    if not others:
        return (wanted,)
    named = [one for one in others if one is not None]
    return named if all(one.address.domain == host for one in named) else ()
