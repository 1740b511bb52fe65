"""Evaluates DMARC for one message (RFC 9989 section 5.3)."""

from collections.abc import Sequence
from typing import Literal

import attrs

from mailserver.policy.dmarc.author import author_domain
from mailserver.policy.dmarc.record import DMARCPolicy, DMARCRecord
from mailserver.policy.dmarc.tree import NoDNSAnswer, PolicyTree, organization_of
from mailserver.policy.questions import Evaluation, PolicyQuestion

_MILDER: dict[DMARCPolicy, DMARCPolicy] = {"reject": "quarantine", "quarantine": "none", "none": "none"}


@attrs.frozen(kw_only=True)
class DMARCResult:
    """The result for ``domain``, the author domain, with the words of RFC 9989 section 9.2.

    ``policy`` is what the owner of the domain asks to do with this message: always "none" unless it fails.
    ``org_domain`` is the organizational domain, "" if it was not needed. ``aligned_by`` says what proves the
    domain, if the result is "pass". ``record`` is the policy in force, None if there is none. ``problem``
    says in one line why the result is "none", "temperror" or "permerror"; else it is "".
    """

    result: Literal["none", "pass", "fail", "temperror", "permerror"]
    domain: str = ""
    policy: DMARCPolicy = "none"
    org_domain: str = ""
    aligned_by: Literal["", "dkim", "spf"] = ""
    record: DMARCRecord | None = None
    problem: str = ""


def evaluate_dmarc(head: bytes, *, spf: str, dkim: Sequence[str]) -> Evaluation[DMARCResult]:
    """The result for a message with this header.

    ``spf`` is the domain whose SPF result is "pass", "" if there is none. ``dkim`` are the domains of the
    signatures whose result is "pass". All are A-labels.
    """
    try:
        author = author_domain(head)
    except ValueError as problem:
        return DMARCResult(result="permerror", problem=str(problem))
    return (yield from evaluate_author(author, spf=spf, dkim=dkim))


def evaluate_author(author: str, *, spf: str, dkim: Sequence[str]) -> Evaluation[DMARCResult]:
    """The result for a message with this author domain; the rest as for :func:`evaluate_dmarc`."""
    if author.startswith("["):
        return DMARCResult(result="none", domain=author, problem="address literal in From")
    try:
        return (yield from _Message(author, spf, dkim).evaluate())
    except NoDNSAnswer:
        return DMARCResult(result="temperror", domain=author, problem="policy could not be looked up")


class _Message:
    """A message with one author domain, and the domains that SPF and DKIM have proved."""

    def __init__(self, author: str, spf: str, dkim: Sequence[str]) -> None:
        self._author = author
        proved: list[tuple[Literal["dkim", "spf"], str]] = [("dkim", domain.lower()) for domain in dkim]
        if spf:
            proved.append(("spf", spf.lower()))
        self._proved = tuple(dict.fromkeys(proved))
        self._tree = PolicyTree()
        self._organization = ""

    def evaluate(self) -> Evaluation[DMARCResult]:
        record = yield from self._discover()
        if record is None:
            return DMARCResult(result="none", domain=self._author, problem="no policy")
        known = DMARCResult(result="fail", domain=self._author, record=record)
        if not record.usable:
            problem = f"malformed policy of {record.domain}"
            return attrs.evolve(known, result="permerror", problem=problem)
        aligned_by = yield from self._aligned_by(record)
        known = attrs.evolve(known, org_domain=self._organization)
        if aligned_by:
            return attrs.evolve(known, result="pass", aligned_by=aligned_by)
        policy = yield from self._policy(record)
        return attrs.evolve(known, policy=_MILDER[policy] if record.testing else policy)

    def _discover(self) -> Evaluation[DMARCRecord | None]:
        """The policy of the author domain, of its organization, or of the public suffix (section 4.10.1)."""
        record = yield from self._tree.record(self._author)
        if record is not None:
            return record
        records = yield from self._tree.walk(self._author)
        self._organization = organization_of(self._author, records)
        # The last one is the public suffix, which has a policy for those without one.
        return next(
            (one for one in records if one.domain == self._organization), records[-1] if records else None
        )

    def _aligned_by(self, record: DMARCRecord) -> Evaluation[Literal["", "dkim", "spf"]]:
        """What proves the author domain (section 4.10.2). Raises :class:`NoDNSAnswer` if that is unknown."""
        for kind, domain in self._proved:
            if domain == self._author:
                # A policy of its own makes it an organization for this purpose.
                self._organization = self._organization or self._author
                return kind
        failed = False
        for kind, domain in self._proved:
            if record.strict_dkim if kind == "dkim" else record.strict_spf:
                continue
            try:
                if (yield from self._is_related(domain)):
                    return kind
            except NoDNSAnswer:
                failed = True
        if failed:
            raise NoDNSAnswer
        return ""

    def _is_related(self, domain: str) -> Evaluation[bool]:
        """Whether a domain has the same organizational domain as the author domain."""
        if domain.rpartition(".")[2] != self._author.rpartition(".")[2]:
            return False
        if not self._organization:
            self._organization = yield from self._tree.organization(self._author)
        if domain != self._organization and not domain.endswith(f".{self._organization}"):
            return False
        return (yield from self._tree.organization(domain)) == self._organization

    def _policy(self, record: DMARCRecord) -> Evaluation[DMARCPolicy]:
        if record.domain == self._author:
            return record.policy
        if record.missing != record.subdomains:
            question = PolicyQuestion(self._author, "A")
            reply = (yield (question,))[question]
            if reply.failed:
                raise NoDNSAnswer
            if not reply.exists:
                return record.missing
        return record.subdomains
