"""The TLS policies that other domains publish, with the section [relay] of the configuration in force."""

from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from mailserver.app.data import policies_folder
from mailserver.config.keys.top_level import Config
from mailserver.delivery.interfaces import ITLSPolicy
from mailserver.delivery.smtp.configured_tls import ConfiguredTLS
from mailserver.delivery.tls_policy.dane import DANE
from mailserver.delivery.tls_policy.policy import PublishedTLSPolicy
from mailserver.delivery.tls_policy.reporter import TLSReporter
from mailserver.delivery.tls_policy.results import TLSResults
from mailserver.delivery.tls_policy.sts import MTASTS
from mailserver.delivery.tls_policy.sts_fetch import PolicyHosts
from mailserver.delivery.tls_policy.sts_store import PolicyFiles
from mailserver.dns.interfaces import IResolver
from mailserver.durable.disk import Disk
from mailserver.errors import storage_error
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address


class TLSPolicies(Service):
    """MTA-STS and DANE; reports about TLS if relay.tls_reports is true.

    ``open`` must be called before the first message. ``send``: see
    :class:`~mailserver.delivery.tls_policy.reporter.TLSReporter`.
    """

    def __init__(
        self,
        config: Config,
        reactor: IReactor,
        resolver: IResolver,
        disk: Disk,
        send: Callable[[str, Sequence[Address], bytes], Deferred[None]],
    ) -> None:
        self._hosts = PolicyHosts(reactor, resolver)
        self._files = PolicyFiles(policies_folder(config.data), disk)
        self._sts = MTASTS(reactor, resolver, self._hosts.fetch, self._files)
        self._dane = DANE(resolver, reactor.seconds)
        self._results = TLSResults(reactor.seconds)
        contact = f"postmaster@{config.domains[0]}"
        self._reporter = TLSReporter(self._results, resolver, send, config.hostname, contact, reactor)
        self._commit(config)

    def open(self) -> None:
        """Find the policies in the data directory. Blocks; raises ``StorageError``."""
        try:
            self._files.open()
        except OSError as error:
            raise storage_error(error) from error

    def startService(self) -> None:
        """Refresh policies, and send reports."""
        Service.startService(self)
        self._sts.start()
        self._reporter.start()

    def stopService(self) -> None:
        """End what runs."""
        self._sts.stop()
        self._reporter.stop()
        Service.stopService(self)

    def policy(self, configured: ConfiguredTLS) -> ITLSPolicy:
        """The policy for MX hosts, above what the configuration requires."""
        return PublishedTLSPolicy(configured, self._dane, self._sts, self._results)

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return lambda: self._commit(config)

    def _commit(self, config: Config) -> None:
        self._hosts.allow_private = config.relay.allow_private
        self._results.enabled = config.relay.tls_reports
