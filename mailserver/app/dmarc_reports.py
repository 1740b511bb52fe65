"""Daily reports about the results of DMARC, to the domains that ask for them (RFC 9990).

They are sent if policy.dmarc_reports is true. Nothing waits for DNS longer than ``LOOKUPS`` seconds, and
``AT_ONCE`` reports are made at the same time: strangers choose the domains.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults

from mailserver import __version__
from mailserver.cluster.alone import ALONE
from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.config.keys.top_level import Config
from mailserver.delivery.daily import DailySending
from mailserver.dns.interfaces import IResolver
from mailserver.errors import StorageError
from mailserver.events.base import report
from mailserver.events.dmarc_reports import DMARCReportNotSent, DMARCReportSent
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address
from mailserver.mail.daily_report import DailyReport, utc_text
from mailserver.mail.ids import new_id
from mailserver.mail.words import AddressNames
from mailserver.policy.dmarc.aggregate import AggregateReport, AggregateRow
from mailserver.policy.dmarc.daily_results import DMARCResults, DomainDay
from mailserver.policy.dmarc.destinations import ReportDestination, report_destinations
from mailserver.policy.dmarc.record import DMARCRecord
from mailserver.policy.lookups import LimitedResolver, answered
from mailserver.threads.pool import Threads

LOOKUPS = 30.0  # seconds for the DNS lookups of one report
AT_ONCE = 10
COUNT = "count DMARC"  # the question to the first worker


class DMARCReports(Service):
    """Collects ``results``, and sends reports while it runs."""

    def __init__(
        self,
        config: Config,
        reactor: IReactor,
        resolver: IResolver,
        threads: Threads,
        send: Callable[[str, Sequence[Address], bytes], Deferred[None]],
        peers: IPeers = ALONE,
    ) -> None:
        """``send``: see :meth:`mailserver.app.report_sending.ReportSending.send`. The first of the ``peers``
        has the results."""
        self._peers = peers
        peers.serve(COUNT, lambda found: self.results.count(*found))
        self._reactor = reactor
        self._resolver = resolver
        self._threads = threads
        self._send = send
        self._hostname = config.hostname
        self._contact = f"postmaster@{config.domains[0]}"
        self._daily = DailySending(reactor, self._send_all)
        self.results = DMARCResults(reactor.seconds, enabled=config.policy.dmarc_reports)

    def startService(self) -> None:
        """Send reports from now on."""
        Service.startService(self)
        self._daily.start()

    def stopService(self) -> None:
        """Send no more reports."""
        self._daily.stop()
        Service.stopService(self)

    def count(self, policy: DMARCRecord, row: AggregateRow) -> None:
        """Count a message; see :meth:`~mailserver.policy.dmarc.daily_results.DMARCResults.count`."""
        if self._peers.number == FIRST:
            self.results.count(policy, row)
        else:
            self._peers.tell(FIRST, COUNT, (policy, row))

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""

        def commit() -> None:
            self.results.enabled = config.policy.dmarc_reports

        return commit

    async def _send_all(self) -> None:
        taken = self.results.take()
        if not self.results.enabled:
            return
        days = ((day, one) for day, domains in taken.items() for one in domains.values())
        workers = [Deferred.fromCoroutine(self._work(days)) for _ in range(AT_ONCE)]
        await gatherResults(workers, consumeErrors=True)

    async def _work(self, days: Iterator[tuple[int, DomainDay]]) -> None:
        for day, one in days:
            if one.rows:
                await self._send_one(day, one)

    async def _send_one(self, day: int, one: DomainDay) -> None:
        domain = one.policy.domain
        resolver = LimitedResolver(self._resolver, self._reactor, LOOKUPS)
        wanted = await answered(resolver, report_destinations(one.policy))
        if not wanted:
            report(DMARCReportNotSent(domain=domain, reason="no address of the record can be used"))
            return
        id = new_id()
        content, to = await self._threads.run(partial(self._message, id, day, one, wanted))
        if not to:
            reason = f"it has {len(content)} octets, more than its recipients accept"
            report(DMARCReportNotSent(domain=domain, reason=reason))
            return
        try:
            await self._send(id, to, content)
        except StorageError as error:
            report(DMARCReportNotSent(domain=domain, reason=str(error)))
        else:
            report(DMARCReportSent(id=id, domain=domain, recipients=AddressNames(to)))

    def _message(
        self, id: str, day: int, one: DomainDay, wanted: Sequence[ReportDestination]
    ) -> tuple[bytes, tuple[Address, ...]]:
        """The message, and those who accept its size. Called in a thread."""
        domain = one.policy.domain
        daily = DailyReport(
            id=id, hostname=self._hostname, contact=self._contact, domain=domain, day=day, report_id=id
        )
        aggregate = AggregateReport(
            id=id,
            organization=self._hostname,
            email=self._contact,
            generator=f"mailserver {__version__}",
            begin=daily.begin,
            end=daily.end,
            policy=one.policy,
            rows=one.rows,
        )
        xml, now = aggregate.xml(), self._reactor.seconds()

        def message(to: Sequence[Address]) -> bytes:
            return daily.message(
                to,
                now,
                fields=(),
                content_type="multipart/mixed",
                text=(
                    "The attachment is a DMARC aggregate report about the mail that has arrived here from",
                    f"{domain}, from {utc_text(daily.begin)} to {utc_text(daily.end)}.",
                    "RFC 9990 describes its format.",
                ),
                file_type="application/gzip",
                extension="xml.gz",
                content=xml,
            )

        content = message([each.address for each in wanted])
        to = tuple(each.address for each in wanted if each.takes(len(content)))
        return (message(to) if 0 < len(to) < len(wanted) else content), to
