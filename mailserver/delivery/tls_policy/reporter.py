"""Sends the reports about TLS, once a day (RFC 8460 section 4.1)."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailserver.delivery.daily import DailySending
from mailserver.delivery.tls_policy.report import TLSReport, report_addresses
from mailserver.delivery.tls_policy.results import DomainResults, TLSResults
from mailserver.dns.interfaces import IResolver
from mailserver.errors import DNSFailure, StorageError
from mailserver.events.base import report
from mailserver.events.tls_policy import TLSReportNotSent, TLSReportSent
from mailserver.mail.address import Address
from mailserver.mail.ids import new_id
from mailserver.mail.words import AddressNames


class TLSReporter:
    """``send`` puts a message with the null reverse-path into the spool. Its arguments are the id, the
    recipients and the content. It fails with :class:`~mailserver.errors.StorageError`."""

    def __init__(
        self,
        results: TLSResults,
        resolver: IResolver,
        send: Callable[[str, Sequence[Address], bytes], Deferred[None]],
        hostname: str,
        contact: str,
        reactor: IReactorTime,
    ) -> None:
        self._results = results
        self._resolver = resolver
        self._send = send
        self._hostname = hostname
        self._contact = contact
        self._reactor = reactor
        self._daily = DailySending(reactor, self._send_all)
        self.start = self._daily.start
        self.stop = self._daily.stop

    async def _send_all(self) -> None:
        for day, domains in self._results.take().items():
            for domain, results in domains.items():
                try:
                    await self._send_one(day, domain, results)
                except (DNSFailure, StorageError) as error:
                    report(TLSReportNotSent(domain=domain, reason=str(error)))

    async def _send_one(self, day: int, domain: str, results: DomainResults) -> None:
        answer = await self._resolver.lookup(f"_smtp._tls.{domain}", "TXT")
        to = report_addresses(answer.records)
        if not to:
            return
        one = TLSReport(new_id(), self._hostname, self._contact, domain, day, results)
        await self._send(one.id, to, one.message(to, self._reactor.seconds()))
        report(TLSReportSent(id=one.id, domain=domain, recipients=AddressNames(to)))
