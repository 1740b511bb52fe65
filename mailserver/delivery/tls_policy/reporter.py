"""Sends the reports about TLS, once a day (RFC 8460 section 4.1)."""

import random
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailserver.delivery.tls_policy.report import TLSReport, report_addresses
from mailserver.delivery.tls_policy.results import DAY, DomainResults, TLSResults
from mailserver.dns.interfaces import IResolver
from mailserver.errors import DNSFailure, StorageError
from mailserver.events.base import report
from mailserver.events.tls_policy import TLSReportNotSent, TLSReportSent
from mailserver.mail.address import Address
from mailserver.mail.ids import new_id
from mailserver.mail.words import AddressNames

SPREAD = 4 * 3600.0  # seconds after midnight, so that a domain does not get all its reports at once


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
        self._timer: IDelayedCall | None = None
        self._sending: Deferred[object] | None = None

    def start(self) -> None:
        """Send reports from now on."""
        now = self._reactor.seconds()
        self._timer = self._reactor.callLater(DAY - now % DAY + random.uniform(0, SPREAD), self._begin)

    def stop(self) -> None:
        """Send no more reports."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()

    def _begin(self) -> None:
        self._sending = Deferred.fromCoroutine(self._send_all())
        self._sending.addBoth(self._sent)

    def _sent(self, result: object) -> object:
        if self._sending is None:
            return None  # stopped
        self._sending = None
        self.start()
        return result  # a bug is logged as an unhandled error

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
