"""Runs the checks of ``mailserver doctor`` on an installation, and finds the installation first."""

import errno
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from mailserver import __version__
from mailserver.app.accounts import stored_names
from mailserver.app.alone import run_alone
from mailserver.app.check import check
from mailserver.app.doctor.accounts import check_accounts
from mailserver.app.doctor.backup import check_backup
from mailserver.app.doctor.blocklists import check_blocklists
from mailserver.app.doctor.certificates import check_certificates
from mailserver.app.doctor.clock import check_clock
from mailserver.app.doctor.configuration import check_configuration
from mailserver.app.doctor.damage import check_damage
from mailserver.app.doctor.disk import check_disk
from mailserver.app.doctor.domains import check_domains
from mailserver.app.doctor.files import check_files
from mailserver.app.doctor.filters import check_filters
from mailserver.app.doctor.findings import DoctorFinding, Examination, Examined, NotChecked
from mailserver.app.doctor.installation import Installation, RunningServer
from mailserver.app.doctor.listeners import check_listeners
from mailserver.app.doctor.mailboxes import check_mailboxes
from mailserver.app.doctor.open_relay import check_open_relay
from mailserver.app.doctor.queue import check_queue
from mailserver.app.doctor.resolvers import check_resolvers
from mailserver.app.doctor.server import check_server
from mailserver.app.doctor.smarthost import check_smarthost
from mailserver.app.doctor.sts import check_sts
from mailserver.app.effective import EffectiveAccounts
from mailserver.app.status import STATUS
from mailserver.app.storage import read_accounts
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.control.channel import CommandFailed
from mailserver.control.client import ask
from mailserver.delivery.tls_policy.sts_fetch import PolicyHosts
from mailserver.dns.resolver import Resolver
from mailserver.errors import ConfigurationError, MailserverError, storage_error
from mailserver.interfaces import IReactor
from mailserver.threads.pool import run_in_thread

PATIENCE = 5.0  # seconds that the server may take for a reply
MAX_TIME = 120.0  # seconds for a check that asks others, whatever happens

BLOCKING: Mapping[str, Callable[[Installation], Iterable[Examined]]] = {
    "configuration": check_configuration,
    "server": check_server,
    "files": check_files,
    "disk": check_disk,
    "clock": check_clock,
    "databases": check_damage,
    "certificates": check_certificates,
    "accounts": check_accounts,
    "mailboxes": check_mailboxes,
    "queue": check_queue,
    "backup": check_backup,
}
"""The checks that read files, by what they check. Each runs in a thread."""

NEARBY: Mapping[str, Callable[[Installation], Awaitable[Iterable[Examined]]]] = {
    "listeners": check_listeners,
    "open relay": check_open_relay,
    "mail filters": check_filters,
}
"""The checks that connect to programs of this site."""

FAR: Mapping[str, Callable[[Installation], Awaitable[Iterable[Examined]]]] = {
    "DNS servers": check_resolvers,
    "DNS": check_domains,
    "MTA-STS": check_sts,
    "blocklists": check_blocklists,
    "smarthost and routes": check_smarthost,
}
"""The checks that ask DNS or other servers: not with ``--offline``."""


async def examine(it: Installation) -> Examination:
    """Run all checks."""
    works = [_guarded(name, it.run(_listed, run, it)) for name, run in BLOCKING.items()]
    for name, check_it in {**NEARBY, **({} if it.offline else FAR)}.items():
        work = Deferred.fromCoroutine(_awaited(check_it, it))
        works.append(_guarded(name, work.addTimeout(MAX_TIME, it.reactor)))
    results = [one for work in works for one in await work]
    if it.offline:
        results += [NotChecked(name, "--offline") for name in FAR]
    return Examination(results)


def _listed(run: Callable[[Installation], Iterable[Examined]], it: Installation) -> Sequence[Examined]:
    return list(run(it))


async def _awaited(
    run: Callable[[Installation], Awaitable[Iterable[Examined]]], it: Installation
) -> Sequence[Examined]:
    return list(await run(it))


def _guarded(name: str, work: Deferred[Sequence[Examined]]) -> "Deferred[Sequence[Examined]]":
    return Deferred.fromCoroutine(_result(name, work))


async def _result(name: str, work: Deferred[Sequence[Examined]]) -> Sequence[Examined]:
    """The results of a check. What it cannot do must not keep those of the others away."""
    try:
        return await work
    except OSError as error:
        return [NotChecked(name, str(storage_error(error)))]
    except MailserverError as error:
        return [NotChecked(name, str(error))]
    except DeferredTimeout:
        return [NotChecked(name, f"it takes longer than {MAX_TIME:g} seconds")]
    except Exception as error:  # noqa: BLE001 - a mistake in one check must not hide the results of the others
        text = f"the check has failed: {error!r}"
        return [
            DoctorFinding("check-failed", name, text, "it is a mistake in this program: please report it")
        ]


class Doctor:
    """One run of the command."""

    def __init__(self, path: Path, *, offline: bool) -> None:
        """``path`` is the configuration file. ``offline``: ask no DNS server and no other mail server."""
        self._path = path.absolute()
        self._offline = offline
        self._before: list[Examined] = []

    def run(self) -> Examination:
        """Examine the installation. The process must not have run its reactor yet."""
        try:
            config = load(self._path, os.environ)
        except ConfigurationError as error:
            found = [_invalid(self._path, line) for line in error.lines]
            return Examination([*found, NotChecked("everything else", "the configuration has errors")])
        return run_alone(partial(self._examine, config))

    async def _examine(self, config: Config, reactor: IReactor) -> Examination:
        it = await self._installation(config, reactor)
        found = await examine(it)
        return Examination([*self._before, *found.results])

    async def _installation(self, config: Config, reactor: IReactor) -> Installation:
        run: Any = partial(run_in_thread, reactor)
        resolver = Resolver(config.dns, reactor)
        server, trouble = await run(running_server, config.data)
        self._before += await run(configuration_problems, self._path, config, reactor)
        return Installation(
            path=self._path,
            config=config,
            version=__version__,
            now=time.time(),
            reactor=reactor,
            resolver=resolver,
            run=run,
            fetch_policy=PolicyHosts(reactor, resolver, allow_private=config.relay.allow_private).fetch,
            offline=self._offline,
            server=server,
            server_trouble=trouble,
            accounts=await run(effective_accounts, config),
        )


def _invalid(path: Path, line: str) -> DoctorFinding:
    key, _, text = line.removeprefix(f"{path}: ").partition(": ")
    return DoctorFinding("configuration-invalid", key, text, f"correct it in {path}")


def configuration_problems(path: Path, config: Config, reactor: IReactor) -> Sequence[DoctorFinding]:
    """What would prevent a start. Sockets of systemd cannot be checked: it passes them to the server only.
    Blocks."""
    passed = [
        attrs.evolve(one, endpoint="tcp:0") if one.endpoint.startswith("systemd:") else one
        for one in config.listen
    ]
    try:
        check(path, attrs.evolve(config, listen=tuple(passed)), stored_names(config), reactor)
    except ConfigurationError as error:
        return [_invalid(path, line) for line in error.lines]
    return []


def running_server(data: Path) -> tuple[RunningServer | None, DoctorFinding | None]:
    """What the running server says of itself, None if no server runs; and its trouble, if it does not answer
    as it should. Blocks."""
    try:
        outcome = ask(data, {"command": STATUS}, PATIENCE)
    except CommandFailed as error:
        if str(error).startswith("unknown command"):
            text, mend = "a version without this command is running", "systemctl restart mailserver"
            return None, DoctorFinding("server-version", "server", text, mend)
        mend = "look into its log, and: systemctl restart mailserver"
        if str(error).endswith(os.strerror(errno.EACCES)):
            mend = "run mailserver doctor as root or as the server's user"
        return None, DoctorFinding("server-silent", "server", str(error), mend)
    if outcome is None:
        return None, None
    found = json.loads(outcome.lines[0])
    known = (field.name for field in attrs.fields(RunningServer))
    return RunningServer(**{name: found[name] for name in known if name in found}), None


def effective_accounts(config: Config) -> EffectiveAccounts | None:
    """The accounts in force, as the disk has them; None if they cannot be read. A server in memory may have
    more."""
    try:
        store = read_accounts(config)
        return EffectiveAccounts.of(config, *store.everything())
    except (OSError, MailserverError):
        return None  # the check of the databases reports it
