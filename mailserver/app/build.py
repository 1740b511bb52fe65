"""Builds the whole server from a configuration."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import uniform

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, DeferredLock, succeed

from mailserver.app import data as data_directory
from mailserver.app.accounts import AccountService, stored_names
from mailserver.app.alerts import Alerts
from mailserver.app.backup import BACKUP_SPOOL, SpoolCopies
from mailserver.app.check import check
from mailserver.app.configuration import CONFIGURATION, running_values
from mailserver.app.data import data_lock, journal_folder
from mailserver.app.dmarc_reports import DMARCReports
from mailserver.app.expiry import Expiry
from mailserver.app.filters import mail_filters
from mailserver.app.forwarding import Forwarding
from mailserver.app.incoming_checks import mail_checks
from mailserver.app.listeners import Backends, Listeners, last_logins
from mailserver.app.monitoring import METRICS, MonitoredParts, Monitoring
from mailserver.app.passwd_file import PasswdFile
from mailserver.app.quarantine import CurrentQuarantine
from mailserver.app.receptions import Receptions
from mailserver.app.relaying import make_relaying
from mailserver.app.reload import Reload
from mailserver.app.renaming import Renaming
from mailserver.app.report_sending import ReportSending
from mailserver.app.reputation import ReputationChecks, contact_history
from mailserver.app.resolver import CurrentResolver
from mailserver.app.schedule import CurrentSchedule
from mailserver.app.sender_checks import sender_checks
from mailserver.app.service import MailService, Parts
from mailserver.app.sharing import sharing
from mailserver.app.signing import Signing
from mailserver.app.status import STATUS, WORKERS, WorkerStatus, status
from mailserver.app.storage import (
    mailbox_store,
    make_spool,
    moved_mailboxes,
    open_accounts,
    require_files,
    view_of_all,
)
from mailserver.app.tasks import Tasks
from mailserver.app.tls import TLSService
from mailserver.app.tls_policy import TLSPolicies
from mailserver.app.web import WEB, Web, WebServices
from mailserver.app.workers.inherited import InheritedEndpoint, InheritedLock
from mailserver.app.workers.order import WorkerPlace
from mailserver.app.workers.queue_starter import QueueStarter
from mailserver.app.workers.room import RoomOfMailboxes
from mailserver.cluster.alone import Alone
from mailserver.cluster.frames import SUPERVISOR
from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.commands.accounts import ACCOUNT_COMMANDS
from mailserver.commands.quarantine import QUARANTINE_COMMANDS, Quarantine
from mailserver.commands.queue import QUEUE_CHANGES, QUEUE_COMMANDS, change_queue
from mailserver.commands.renaming import RENAMING_COMMANDS
from mailserver.commands.sendmail import SENDMAIL, LocalSubmission
from mailserver.commands.trace import TRACE, trace_command
from mailserver.commands.verification import VerificationService
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.config.sources import external_names
from mailserver.control.channel import SOCKET, Command, CommandOutcome, Request
from mailserver.control.server import ControlService
from mailserver.delivery.local import LocalDelivery
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.durable.rotated import RotatedFiles
from mailserver.interfaces import IDelivery, IReactor
from mailserver.logs.journal import Journal
from mailserver.mail.queued import LOCAL, REMOTE
from mailserver.net.limits import Limits
from mailserver.policy.signing import DKIMSigning
from mailserver.queue.administration import QueueAdministration
from mailserver.queue.fetching import FetchingRunner, MailFetching
from mailserver.queue.removal import SyncedMaildrops
from mailserver.queue.reports import Reports
from mailserver.threads.pool import Threads

LONGEST_JITTER = 1.1  # times the time of the schedule


def make_service(
    reactor: IReactor,
    path: Path,
    read: Callable[[], Config] | None = None,
    checkers: Sequence[ICredentialsChecker] = (),
    checks: Sequence[object] = (),
    delivery: IDelivery | None = None,
    external: Mapping[str, str] | None = None,
    place: WorkerPlace | None = None,
) -> MailService:
    """Build the server that the configuration in the file ``path`` describes; see :func:`make_parts`."""
    return MailService(make_parts(reactor, path, read, checkers, checks, delivery, external, place))


def make_parts(
    reactor: IReactor,
    path: Path,
    read: Callable[[], Config] | None = None,
    checkers: Sequence[ICredentialsChecker] = (),
    checks: Sequence[object] = (),
    delivery: IDelivery | None = None,
    external: Mapping[str, str] | None = None,
    place: WorkerPlace | None = None,
) -> Parts:
    """Build the parts of the server that the configuration in the file ``path`` describes.

    ``read`` reads the configuration, now and at each reload; the default reads the file and the environment.
    ``checkers`` are asked about passwords and tokens that no account accepts. ``checks`` are applied to
    incoming mail after the server's own checks; see :mod:`mailserver.reception.checks`. ``delivery`` makes
    the further attempts for deferred recipients, in place of the server's own delivery to mailboxes.
    ``external`` has the names of the options and variables that set keys, by key, for ``config show``; the
    default are the variables of the environment. Nothing is written, and no port is bound, before the service
    starts. Raises :class:`~mailserver.errors.ConfigurationError`.
    """
    path = path.absolute()
    external = external_names(os.environ) if external is None else external
    read = read or partial(load, path, os.environ)
    config = read()
    check(path, config, stored_names(config), reactor, inherits=place is not None)
    data = config.data
    peers: IPeers = Alone() if place is None else place.peers
    is_first = peers.number == FIRST
    disk, threads, tasks, changing = Disk(), Threads(reactor), Tasks(), DeferredLock()
    damaged = DamagedFolder(data / "damaged", disk)
    tls = TLSService(path, config, reactor, disk, {} if place is None else place.kept, generates=is_first)
    schedule = CurrentSchedule(config)
    journal = make_journal(config, disk, reactor, peers)
    resolver = CurrentResolver(config, reactor)
    store = mailbox_store(
        config, disk, damaged, lambda mailbox: accounts.quota_of(mailbox), reactor, threads,
        lambda mailbox: accounts.current(mailbox), None if place is None else place.locks,
        0 if place is None else peers.number,
    )  # fmt: skip
    spool = make_spool(config, store, disk, damaged, schedule.first, reactor, peers)
    maildrops = SyncedMaildrops(store, spool.checkpoint, peers)
    forwarding = Forwarding(config, disk, threads)
    accounts = AccountService(
        config,
        reactor,
        partial(open_accounts, config, disk),
        maildrops,
        checkers,
        threads,
        tasks,
        changing,
        forwarding.srs,
        lambda: accounts_changed(),
        moved=moved_mailboxes(config, disk),
        peers=peers,
    )
    passwd_file = PasswdFile(config, lambda: accounts.accounts, disk, threads, tasks)
    kept_aside = CurrentQuarantine(config)
    quarantine = Quarantine(store, maildrops, spool, accounts.router, kept_aside, reactor)
    expiry = Expiry(
        store,
        maildrops,
        lambda: accounts.retentions,
        lambda: kept_aside().mailboxes,
        quarantine.expire,
        reactor,
        time.time,
    )
    signing = Signing(path, config)
    report_sending = ReportSending(spool, accounts.router, signing.sign_report)
    dmarc_reports = DMARCReports(config, reactor, resolver, threads, report_sending.send, peers)
    tls_policies = TLSPolicies(config, reactor, resolver, disk, report_sending.send)
    relaying = make_relaying(config, reactor, resolver, tls_policies)
    deliveries = {LOCAL: delivery or LocalDelivery(spool), REMOTE: relaying}
    reports = Reports(spool, accounts.router, config.hostname, reactor, time.time, sign=signing.sign_report)
    runner = FetchingRunner(
        spool,
        deliveries,
        reports,
        schedule,
        reactor,
        concurrency=schedule.concurrency,
        jitter=lambda: uniform(1.0, LONGEST_JITTER),
    )
    administration = QueueAdministration(spool, runner, reports, reactor)
    alerts = Alerts(config, reactor, accounts.router, spool, administration, peers=peers)
    logins = last_logins(reactor.seconds) if place is None else place.logins
    limits = Limits(config.limits, reactor.seconds) if place is None else place.limits
    history = contact_history(config, disk, threads, reactor, peers)
    own_checks = partial(
        mail_checks,
        limits=limits,
        router=accounts.router,
        room=RoomOfMailboxes(store, peers),
        accepts_no_mail=relaying.accepts_no_mail,
        signing=DKIMSigning(signing.keys, threads.run, time.time),
        reputation=ReputationChecks(resolver=resolver, reactor=reactor, history=history),
        senders=partial(sender_checks, resolver=resolver, clock=reactor, count=dmarc_reports.count),
        filters=lambda config: mail_filters(config, reactor),
    )
    receptions = Receptions(
        config,
        accounts.router,
        spool,
        lambda config, networks: (*own_checks(config, networks), *checks),
        QueueStarter(administration, peers),
        MailFetching(spool, runner, relaying.over, reactor),
    )
    monitoring = Monitoring(
        MonitoredParts(
            config=config,
            spool=spool,
            store=store,
            sessions=lambda: listeners.sessions(),
            lookups=resolver.lookups,
            certificates=tls.certificate_ends,
            accounts=accounts.addresses,
        ),
        reactor,
        threads,
        peers,
    )
    web = Web(
        config,
        WebServices(
            accounts=accounts,
            limits=limits,
            store=store,
            maildrops=maildrops,
            receptions=receptions,
            tasks=tasks,
            commands=lambda: commands,
            problem=monitoring.problem,
            kept_aside=lambda: tuple(kept_aside().mailboxes),
        ),
        reactor,
        threads,
    )
    backends = Backends(reactor, limits, receptions, accounts.authenticator, logins)
    listeners = Listeners(
        config,
        tls,
        backends,
        disk.remove,
        http={METRICS: monitoring.factory, WEB: web.factory} if is_first else {},
        endpoint=None if place is None else lambda number: InheritedEndpoint(reactor, place.sockets[number]),
    )
    verification = VerificationService(
        reactor, data, data_directory.checks(data), data_directory.at_start(data)
    )
    reload = Reload(
        path=path,
        started=config,
        read=read,
        names=lambda: accounts.names,
        components=(
            accounts,
            *([passwd_file] if is_first else []),
            forwarding,
            schedule,
            resolver,
            tls_policies,
            dmarc_reports,
            relaying,
            signing,
            alerts,
            kept_aside,
            web,
            receptions,
            listeners,
            tls,
        ),
        reactor=reactor,
        threads=threads,
        tasks=tasks,
        changing=changing,
        peers=peers,
        on_change=(lambda config: None) if place is None else place.in_force,
        inherits=place is not None,
    )

    renaming = Renaming(accounts.run, store, maildrops, spool, threads, tasks, peers)
    submission = LocalSubmission(
        lambda: receptions.local, lambda: receptions.section, config.domains[0], reactor
    )

    def accounts_changed() -> None:
        listeners.accounts_changed()
        if is_first:
            passwd_file.changed()

    async def tell_status(request: Request) -> CommandOutcome:
        workers = [WorkerStatus(FIRST, os.getpid(), monitoring.began, ready=True)]
        if place is not None:
            workers = await peers.ask(SUPERVISOR, WORKERS)
        return status(listeners.where(), reload.loaded, workers)

    async def verify(request: Request) -> CommandOutcome:
        require_files(config)
        return await verification.run(request)

    spools = view_of_all(data, spool.view)

    def ask_queue(request: Request) -> Deferred[CommandOutcome]:
        return threads.run(QUEUE_COMMANDS[str(request["command"])], spools, request)

    def change(request: Request) -> Deferred[CommandOutcome]:
        return tasks.start(change_queue(administration, request))

    async def ask_journal(request: Request) -> CommandOutcome:
        await journal.flush_all()
        return await threads.run_long(trace_command, journal_folder(data), spools, request)

    spool_copies = SpoolCopies(spool, data, disk, tasks, reactor, peers)
    commands: dict[str, Command] = {
        STATUS: tell_status,
        "reload": lambda request: reload.compare() if request.get("dry_run") else reload.run(),
        CONFIGURATION: lambda request: running_values(reload.in_force, external, request),
        "verify": verify,
        "top": lambda request: monitoring.live(),
        BACKUP_SPOOL: spool_copies.run,
        SENDMAIL: lambda request: tasks.start(submission.run(request)),
        TRACE: ask_journal,
        **dict.fromkeys(QUARANTINE_COMMANDS, lambda request: tasks.start(quarantine.run(request))),
        **dict.fromkeys(QUEUE_COMMANDS, ask_queue),
        **dict.fromkeys(QUEUE_CHANGES, change),
        **dict.fromkeys(ACCOUNT_COMMANDS, accounts.run),
        **dict.fromkeys(RENAMING_COMMANDS, lambda request: tasks.start(renaming.run(request))),
    }
    control = ControlService(
        reactor, data / SOCKET, commands, disk.remove, None if place is None else place.control
    )
    return Parts(
        is_alone=place is None,
        is_first=is_first,
        drained=(lambda: succeed(None)) if place is None else place.drained,
        path=path,
        config=config,
        disk=disk,
        lock=data_lock(data) if place is None else InheritedLock(),
        journal=journal,
        tls=tls,
        accounts=accounts,
        expiry=expiry,
        forwarding=forwarding,
        store=store,
        history=history,
        spool=spool,
        renaming=renaming,
        runner=runner,
        tls_policies=tls_policies,
        dmarc_reports=dmarc_reports,
        relaying=relaying,
        alerts=alerts,
        submission=submission,
        quarantine=quarantine,
        administration=administration,
        sharing=sharing(config, spool, accounts, reactor),
        verification=verification,
        control=control,
        monitoring=monitoring,
        listeners=listeners,
        reload=reload,
    )


def make_journal(config: Config, disk: Disk, reactor: IReactor, peers: IPeers) -> Journal:
    """The journal of messages."""
    days, octets = config.log.trace_days, config.log.trace_size
    files = RotatedFiles(journal_folder(config.data), disk, days=days, max_octets=octets) if days else None
    return Journal(files, reactor, peers)
