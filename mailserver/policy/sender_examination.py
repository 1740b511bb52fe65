"""The checks of the sender of one message: SPF from MAIL on, DKIM and ARC while it arrives, then DMARC.

DNS has two thirds of ``policy.deadline`` for each of SPF, DKIM and ARC, and the last third for DMARC. What is
not answered then is a temporary error; the other answers count. So no domain can keep another one from being
checked by answering slowly.
"""

from collections.abc import Callable, Collection

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.dns.interfaces import IResolver
from mailserver.events.authentication import SenderChecked, SenderCheckFailed
from mailserver.events.base import report
from mailserver.interfaces import IContent
from mailserver.mail.address import Address, format_path
from mailserver.mail.verdict import Accept, Defer, Refuse
from mailserver.policy.aggregate_rows import aggregate_row, is_counted, proved_by_dkim, proved_by_spf
from mailserver.policy.arc.verifier import ARCResult, ChainVerifier
from mailserver.policy.authentication_results import MessageAuthentication, authentication_results
from mailserver.policy.dkim.head import MAX_HEAD
from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dkim.verifier import Verifier
from mailserver.policy.dmarc.aggregate import AggregateRow
from mailserver.policy.dmarc.evaluator import DMARCResult
from mailserver.policy.dmarc.lookups import check_dmarc
from mailserver.policy.dmarc.record import DMARCRecord
from mailserver.policy.lookups import LimitedResolver, StartedEvaluation
from mailserver.policy.reputation.values import ClientReputation
from mailserver.policy.result_cache import ResultCache
from mailserver.policy.results_filter import ResultsFilter
from mailserver.policy.sender_verdict import (
    UNCHECKED,
    CheckedSender,
    SenderRules,
    dkim_words,
    dmarc_verdict,
    dmarc_words,
    spf_verdict,
    spf_words,
)
from mailserver.policy.spf.lookups import check_spf
from mailserver.policy.spf.values import SPFRequest, SPFResult
from mailserver.policy.strangers import is_open
from mailserver.policy.trusted_forwarders import vouching_forwarder
from mailserver.reception.checks import ACCEPTED, CheckResult, CheckVerdict, IExamination, started
from mailserver.reception.transaction import Client, Transaction

_FAILED = "the check has failed"
_DMARC_SHARE = 1 / 3


@attrs.frozen(kw_only=True)
class SenderContext:
    """What the examinations of all messages share; see
    :class:`~mailserver.policy.sender_authentication.SenderAuthentication`. ``known_spf`` and ``known_dmarc``
    have results for messages before."""

    rules: SenderRules
    resolver: IResolver
    clock: IReactorTime
    hostname: str
    reputation: Callable[[Client], ClientReputation | None]
    now: Callable[[], float]
    count: Callable[[DMARCRecord, AggregateRow], None] | None
    signed: Callable[[str, Collection[str]], None] | None
    known_spf: ResultCache[SPFResult]
    known_dmarc: ResultCache[DMARCResult]


@implementer(IExamination)
class SenderExamination(ResultsFilter):
    """The checks of one message. One that fails unexpectedly is reported, and counts as a temporary error: a
    mistake in one check must not stop the mail."""

    def __init__(self, context: SenderContext, transaction: Transaction) -> None:
        super().__init__(context.hostname)
        rules = context.rules
        self._context = context
        self._rules = rules
        self._transaction = transaction
        self._seconds = rules.deadline * (1 - _DMARC_SHARE)
        self._needs_spf = rules.spf != "off" or rules.dmarc != "off"
        self._needs_dkim = rules.dkim != "off" or rules.dmarc != "off"
        self._broken = False
        self._spf: SPFResult | None = None
        self._asking = started(self._find_spf()) if self._needs_spf else None
        self._head = b""
        self._verifiers: list[Verifier | ChainVerifier] = []
        self._dkim: StartedEvaluation[tuple[DKIMResult, ...]] | None = None
        self._arc: StartedEvaluation[ARCResult] | None = None
        self._is_refused = False
        self._reputation = context.reputation(transaction.client)

    # ------------------------------------------------------------ RCPT

    def check_recipient(self, transaction: Transaction, recipient: Address) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IExamination`. Only ``spf = "refuse"`` waits for DNS."""
        if self._rules.spf != "refuse" or is_open(recipient):
            return ACCEPTED
        if self._spf is not None:
            return self._spf_verdict()
        return started(self._awaited_spf_verdict())

    async def _awaited_spf_verdict(self) -> CheckVerdict:
        await self._spf_found()
        return self._spf_verdict()

    def _spf_verdict(self) -> CheckVerdict:
        assert self._spf is not None
        verdict = spf_verdict(self._spf, self._transaction.client.ip)
        if isinstance(verdict, Refuse) and not self._is_refused:
            self._is_refused = True
            self._report(CheckedSender(spf=self._spf), verdict)
        return verdict

    async def _spf_found(self) -> None:
        if self._spf is None and self._asking is not None:
            await self._asking

    async def _find_spf(self) -> None:
        context, transaction = self._context, self._transaction
        client = transaction.client
        try:
            request = SPFRequest(
                ip=client.ip,
                helo=client.helo,
                reverse_path=transaction.reverse_path,
                receiver=context.hostname,
                time=int(context.now()),
            )
            self._spf = await check_spf(
                context.resolver, context.clock, request, self._seconds, context.known_spf
            )
        except CancelledError:  # the client has given up the message
            pass
        except Exception:  # noqa: BLE001 - see the class
            self._failed("SPF")
        if self._spf is None:
            path = transaction.reverse_path
            domain = client.helo if path is None else path.domain
            self._spf = SPFResult("temperror", domain, problem=_FAILED)

    # ------------------------------------------------------------ the content

    def read_head(self, head: bytes) -> None:
        """See the base class."""
        self._head = head[: MAX_HEAD + 1]
        now, resolver = self._context.now(), self._limited(self._seconds)
        if self._needs_dkim:
            try:
                verifier = Verifier(self._head, now=now)
                self._dkim = StartedEvaluation(resolver, verifier.evaluate())
                self._verifiers.append(verifier)
            except Exception:  # noqa: BLE001 - see the class
                self._failed("DKIM")
        if self._rules.trusted_forwarders and self._rules.dmarc != "off":
            try:
                chain = ChainVerifier(self._head, now=now)
                self._arc = StartedEvaluation(resolver, chain.evaluate())
                self._verifiers.append(chain)
            except Exception:  # noqa: BLE001 - see the class
                self._failed("ARC")

    def read_body(self, data: bytes) -> None:
        """See the base class."""
        if not self._verifiers or not data:
            return
        try:
            for verifier in self._verifiers:
                verifier.feed(data)
        except Exception:  # noqa: BLE001 - see the class
            self._failed("DKIM")
            self._verifiers.clear()
            self._stop_signatures()
            self._dkim = self._arc = None

    def stop(self) -> None:
        """See :class:`~mailserver.reception.checks.IExamination`."""
        if self._asking is not None:
            self._asking.cancel()
        self._stop_signatures()

    def _stop_signatures(self) -> None:
        for evaluation in (self._dkim, self._arc):
            if evaluation is not None:
                evaluation.stop()

    # ------------------------------------------------------------ the end

    def check_message(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IExamination`."""
        return started(self._check())

    async def _check(self) -> CheckVerdict:
        try:
            return await self._judge()
        except Exception:  # noqa: BLE001 - see the class
            self._failed("results")
            return UNCHECKED if self._rules.on_error == "defer" else ACCEPTED

    async def _judge(self) -> CheckVerdict:
        await self._spf_found()
        dkim = await self._dkim_results() if self._needs_dkim else None
        if self._context.signed is not None and dkim is not None:
            self._context.signed(self._transaction.id, proved_by_dkim(dkim))
        arc = await self._arc_result()
        found = await self._checked(dkim, arc)
        verdict: CheckVerdict = dmarc_verdict(found, self._rules.dmarc)
        if self._broken and self._rules.on_error == "defer":
            verdict = UNCHECKED
        self._report(found, verdict, "" if arc is None else arc.result)
        if self._context.count is not None:
            # The message does not wait for what only a report tells.
            Deferred.fromCoroutine(self._count(self._context.count, found, verdict, dkim))
        if not isinstance(verdict, Accept):
            return verdict
        results = MessageAuthentication(
            spf=found.spf,
            reverse_path=self._transaction.reverse_path,
            dkim=found.dkim,
            dmarc=found.shown_dmarc,
            arc=arc,
            ip=self._transaction.client.ip,
            reputation=self._reputation,
        )
        return Accept("Ok", authentication_results(self._context.hostname, results), verdict.aside)

    async def _checked(self, dkim: tuple[DKIMResult, ...] | None, arc: ARCResult | None) -> CheckedSender:
        rules = self._rules
        dmarc: DMARCResult | None = None
        undecided, forwarder = False, ""
        if rules.dmarc != "off":
            assert self._spf is not None and dkim is not None
            try:
                dmarc, undecided = await self._dmarc_result(self._spf, dkim)
            except Exception:  # noqa: BLE001 - see the class
                self._failed("DMARC")
                dmarc = DMARCResult(result="temperror", problem=_FAILED)
            if dmarc.result == "fail" and arc is not None:
                undecided = undecided or arc.temporary
                forwarder = vouching_forwarder(arc, rules.trusted_forwarders, dmarc.domain)
        return CheckedSender(
            spf=self._spf if rules.spf != "off" else None,
            dkim=dkim if rules.dkim != "off" else None,
            dmarc=dmarc,
            undecided=undecided,
            forwarder=forwarder,
        )

    async def _dkim_results(self) -> tuple[DKIMResult, ...]:
        try:
            if self._dkim is not None:
                return await self._dkim.result()
        except Exception:  # noqa: BLE001 - see the class
            self._failed("DKIM")
        return (DKIMResult(result="temperror", reason=_FAILED),)

    async def _arc_result(self) -> ARCResult | None:
        try:
            return await self._arc.result() if self._arc is not None else None
        except Exception:  # noqa: BLE001 - see the class
            self._failed("ARC")
            return None

    async def _dmarc_result(self, spf: SPFResult, dkim: tuple[DKIMResult, ...]) -> tuple[DMARCResult, bool]:
        """The result, and whether it could be another one if DNS had answered all questions."""
        resolver = self._limited(self._rules.deadline * _DMARC_SHARE)
        by_spf, by_dkim = proved_by_spf(spf), proved_by_dkim(dkim)
        known = self._context.known_dmarc
        result = await check_dmarc(resolver, self._head, spf=by_spf, dkim=by_dkim, known=known)
        open_spf = spf.domain if spf.result == "temperror" else by_spf
        open_dkim = by_dkim + [one.domain for one in dkim if one.result == "temperror"]
        if result.result != "fail" or (open_spf, open_dkim) == (by_spf, by_dkim):
            return result, False
        best = await check_dmarc(resolver, self._head, spf=open_spf, dkim=open_dkim, known=known)
        return result, best.result != "fail"

    async def _count(
        self,
        count: Callable[[DMARCRecord, AggregateRow], None],
        found: CheckedSender,
        verdict: CheckVerdict,
        dkim: tuple[DKIMResult, ...] | None,
    ) -> None:
        """Count the message for the report to the owner of its domain, if there is one."""
        try:
            dmarc, spf = found.dmarc, self._spf
            if dmarc is None or not is_counted(self._head, dmarc, verdict):
                return
            assert dmarc.record is not None and dkim is not None and spf is not None
            assert not isinstance(verdict, Defer)
            row = await aggregate_row(
                self._limited(self._rules.deadline * _DMARC_SHARE),
                self._head,
                found,
                verdict,
                ip=self._transaction.client.ip,
                reverse_path=self._transaction.reverse_path,
                spf=spf,
                dkim=dkim,
            )
            count(dmarc.record, row)
        except Exception:  # noqa: BLE001 - see the class
            self._failed("DMARC report")

    # ------------------------------------------------------------ helpers

    def _limited(self, seconds: float) -> LimitedResolver:
        return LimitedResolver(self._context.resolver, self._context.clock, seconds)

    def _failed(self, check: str) -> None:
        """Report the exception that a check has raised."""
        self._broken = True
        client = self._transaction.client
        event = SenderCheckFailed(
            id=self._transaction.id,
            session=client.session,
            client=client.ip,
            check=check,
            rule="policy.on_error",
        )
        report(event, Failure())

    def _report(self, found: CheckedSender, verdict: CheckVerdict, arc: str = "") -> None:
        transaction = self._transaction
        if isinstance(verdict, Accept) and verdict.aside is not None:
            said, rule = "kept aside", verdict.aside.key
        elif isinstance(verdict, Accept):
            said, rule = "accepted", "policy.trusted_forwarders" if found.forwarder else "policy"
        else:
            said, rule = "rejected" if isinstance(verdict, Refuse) else "deferred", verdict.key
        report(
            SenderChecked(
                id=transaction.id,
                session=transaction.client.session,
                client=transaction.client.ip,
                sender=format_path(transaction.reverse_path),
                spf=spf_words(found.spf),
                dkim=dkim_words(found.dkim),
                dmarc=dmarc_words(found),
                arc=arc,
                verdict=said,
                rule=rule,
            )
        )
