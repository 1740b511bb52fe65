"""The server as a service: it starts and stops its parts in order."""

from collections.abc import Callable
from pathlib import Path

import attrs
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred

from mailserver.accounts.history import ContactHistory
from mailserver.app import data
from mailserver.app.accounts import AccountService
from mailserver.app.alerts import Alerts
from mailserver.app.check import exposure
from mailserver.app.dmarc_reports import DMARCReports
from mailserver.app.expiry import Expiry
from mailserver.app.forwarding import Forwarding
from mailserver.app.listeners import Listeners
from mailserver.app.monitoring import Monitoring
from mailserver.app.reload import Reload, ReloadObserver
from mailserver.app.renaming import Renaming
from mailserver.app.reputation import HistoryOfFirst
from mailserver.app.tls import TLSService
from mailserver.app.tls_policy import TLSPolicies
from mailserver.commands.quarantine import Quarantine
from mailserver.commands.sendmail import LocalSubmission
from mailserver.commands.verification import VerificationService
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import CommandOutcome
from mailserver.delivery.smtp.engine import SMTPDelivery
from mailserver.durable.disk import Disk
from mailserver.durable.lock import DataLock
from mailserver.errors import CannotStart, DataInUse, StorageError, storage_error
from mailserver.events.base import report
from mailserver.events.server import ConfigurationWarning, ListenerAddresses, ServerReady
from mailserver.interfaces import IMailboxStore
from mailserver.logs.journal import Journal
from mailserver.queue.administration import QueueAdministration
from mailserver.queue.runner import Runner
from mailserver.queue.spool import Spool


@attrs.frozen(kw_only=True)
class Parts:
    """The parts of a server, built and not yet started. ``path`` is the file of the configuration.

    With several workers, ``is_alone`` is false; ``is_first`` says whether this is the one with the queue, and
    ``drained`` fires when this one may close the spool, which others may need until then.
    """

    is_alone: bool
    is_first: bool
    drained: Callable[[], Deferred[None]]
    path: Path
    config: Config
    disk: Disk
    lock: DataLock
    journal: Journal
    tls: TLSService
    accounts: AccountService
    expiry: Expiry
    forwarding: Forwarding
    store: IMailboxStore
    history: ContactHistory | HistoryOfFirst
    spool: Spool
    renaming: Renaming
    runner: Runner
    tls_policies: TLSPolicies
    dmarc_reports: DMARCReports
    relaying: SMTPDelivery
    alerts: Alerts
    submission: LocalSubmission
    quarantine: Quarantine
    administration: QueueAdministration
    sharing: IService
    verification: VerificationService
    control: IService
    monitoring: Monitoring
    listeners: Listeners
    reload: Reload

    def open(self) -> None:
        """Open what a message needs on its way into the spool. Blocks.

        Raises :class:`~mailserver.errors.StorageError`.
        """
        if self.is_first:
            data.open_format(self.config.data, self.disk)
        self.disk.make_dirs(self.config.data / "tmp", below=self.config.data)
        self.accounts.open()
        self.forwarding.open()
        self.store.open()
        self.spool.open()
        if self.is_first and self.accounts.has_moves:
            self.renaming.open(lambda: self.accounts.finish_moves(self.store))
        self.journal.open()

    async def close(self) -> None:
        """Sync, and close what :meth:`open` has opened. No attempt runs any more."""
        await self.accounts.close()
        await self.history.close()
        await self.runner.stop()
        await self.spool.close()
        await self.store.close()
        await self.journal.close()


class MailService(MultiService):
    """The server. It changes nothing of the process that it runs in, such as the umask or signal handlers.

    A service that was stopped does not start again: build another.
    """

    def __init__(self, parts: Parts) -> None:
        MultiService.__init__(self)
        self._parts = parts
        self._is_open = False
        alone = (
            parts.verification,
            parts.expiry,
            parts.tls_policies,
            parts.dmarc_reports,
            parts.sharing,
            parts.control,
        )
        # The clients come last, and go first.
        for part in (
            *(alone if parts.is_first else ()),
            parts.accounts,
            parts.tls,
            parts.alerts,
            parts.monitoring,
            parts.listeners,
        ):
            MultiService.addService(self, part)

    @property
    def config(self) -> Config:
        """The configuration of the start."""
        return self._parts.config

    def where(self) -> list[dict[str, object]]:
        """The address of each listener, in the order of the configuration, while the service runs.

        A dictionary has "protocol", "tls", and either "host" and "port" or "path".
        """
        return self._parts.listeners.where()

    def reload(self) -> Deferred[CommandOutcome]:
        """Read the configuration again and put in force what can change; see
        :meth:`~mailserver.app.reload.Reload.run`."""
        return self._parts.reload.run()

    def observe_reloads(self, observer: ReloadObserver) -> None:
        """Tell the observer of all further reloads."""
        self._parts.reload.observers.append(observer)

    def privilegedStartService(self) -> None:
        """Bind the listeners. Raises :class:`~mailserver.errors.CannotStart`."""
        MultiService.privilegedStartService(self)

    def startService(self) -> None:
        """Lock and open the data directory, recover the spool, and serve. Blocks.

        Raises :class:`~mailserver.errors.CannotStart`.
        """
        try:
            self._open()
        except (DataInUse, StorageError) as error:
            raise CannotStart(f"data: {error}") from error
        except OSError as error:
            raise CannotStart(f"data: {storage_error(error)}") from error
        MultiService.startService(self)
        if self._parts.is_first:
            for problem in (exposure(self._parts.path, self.config), data.room_problem(self.config)):
                if problem is not None:
                    report(ConfigurationWarning(reason=problem))
        if self._parts.is_alone:
            report(ServerReady(listeners=ListenerAddresses(self.where())))

    def _open(self) -> None:
        parts, folder = self._parts, self.config.data
        data.make_own(folder, parts.disk)
        parts.lock.acquire()
        try:
            parts.tls.open()
            parts.open()
            if parts.is_first:
                parts.tls_policies.open()
                parts.runner.start()
                parts.spool.sweep()
        except BaseException:
            parts.lock.release()
            raise
        self._is_open = True

    def stopService(self) -> Deferred[None]:
        """Stop listening, let the sessions end, sync, and close the data directory."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._parts.monitoring.stops()
        # Clients and attempts have the same time to end.
        relaying = Deferred.fromCoroutine(self._parts.relaying.stop(self.config.stop_grace))
        await MultiService.stopService(self)
        await relaying
        # Without an answer the supervisor has ended, and so do the others.
        await self._parts.drained().addErrback(lambda failure: failure.trap(StorageError) and None)
        if not self._is_open:
            return
        await self._parts.close()
        self._parts.lock.release()
