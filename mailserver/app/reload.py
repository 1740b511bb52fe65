"""Reloads the configuration: all changes that need no restart come into force, or none does."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredLock

from mailserver.accounts.entries import StoredNames
from mailserver.app.check import check, exposure
from mailserver.app.tasks import Tasks
from mailserver.cluster.alone import Alone
from mailserver.cluster.interfaces import IPeers
from mailserver.cluster.notices import publish
from mailserver.config.keys.top_level import Config
from mailserver.config.written import changes
from mailserver.control.channel import CommandFailed, CommandOutcome
from mailserver.errors import ConfigurationError
from mailserver.events.base import report
from mailserver.events.server import (
    ConfigurationRejected,
    ConfigurationReloaded,
    ConfigurationWarning,
    RestartNeeded,
)
from mailserver.interfaces import IReactor
from mailserver.threads.pool import Threads

# Keys and sections that are used at the start only.
NEEDS_RESTART = (
    "hostname", "data", "allow_root", "stop_grace", "workers", "listen", "tls", "storage", "log"
)  # fmt: skip


# Keys of these sections that need none.
QUOTAS = ("storage.quota", "storage.quota_messages")
NOTE = " (needs a restart)"

RELOADED = "configuration reloaded"  # the question to other workers


class Component(Protocol):
    """A part of the server that another configuration can change."""

    async def prepare(self, config: Config) -> Callable[[], None]:
        """Do everything that can fail; return a function that puts the configuration in force.

        Raises :class:`~mailserver.errors.ConfigurationError`.
        """


class ReloadObserver(Protocol):
    """Is told of reloads."""

    def reloading(self) -> None:
        """A reload begins."""

    def reloaded(self, outcome: str) -> None:
        """It has ended; ``outcome`` is one line, also if it has failed."""


def _lasting(config: Config, name: str) -> object:
    """The part of a section that a reload cannot change."""
    value = getattr(config, name)
    if name == "tls":
        return value is None  # the certificates are renewed with the rest
    return attrs.evolve(value, quota=0, quota_messages=0) if name == "storage" else value


def _restart(names: Sequence[str]) -> str:
    return f"a restart is needed for: {', '.join(names)}"


@attrs.define(kw_only=True)
class Reload:
    """Reloads the configuration of the file ``path``, which ``read`` reads; ``started`` is that of the start.

    Other workers of ``peers`` get the configuration of the first one. ``on_change`` is called with each that
    comes into force, before they get it. ``inherits``: see :func:`~mailserver.app.check.check`. ``names``
    gives the names in the account store. ``changing`` is held while another configuration or other accounts
    come into force.
    """

    path: Path
    started: Config
    read: Callable[[], Config]
    names: Callable[[], StoredNames]
    components: Sequence[Component]
    reactor: IReactor
    threads: Threads
    tasks: Tasks
    changing: DeferredLock
    peers: IPeers = attrs.field(factory=Alone)
    on_change: Callable[[Config], None] = lambda config: None
    inherits: bool = False
    observers: list[ReloadObserver] = attrs.field(factory=list, init=False)
    loaded: float = attrs.field(factory=time.time, init=False)
    """When the configuration in force was read, in seconds since the epoch."""
    _in_force: Config = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.peers.serve(RELOADED, self._follow)

    @_in_force.default
    def _at_start(self) -> Config:
        return self.started

    def run(self) -> Deferred[CommandOutcome]:
        """Reload; a configuration with an error is refused, and the old one stays in force.

        Logs the outcome, and returns the same or fails with it, as a
        :class:`~mailserver.control.channel.CommandFailed`.
        """
        return self.tasks.start(self._run())

    async def _run(self) -> CommandOutcome:
        async with self.changing:
            for observer in self.observers:
                observer.reloading()
            text = "the reload has failed"
            try:
                text = await self._reload()
                return CommandOutcome((text,))
            except CommandFailed as error:
                text = str(error)
                raise
            finally:
                for observer in self.observers:
                    observer.reloaded(text)

    def compare(self) -> Deferred[CommandOutcome]:
        """Show the differences between the configuration in force and that of a reload, which it checks.

        Nothing of it comes into force; at most, missing keys of SRS are made. Fails like :meth:`run` if the
        configuration has an error.
        """
        return self.tasks.start(self._compare())

    async def _compare(self) -> CommandOutcome:
        async with self.changing:
            try:
                config, _ = await self._prepare()
            except ConfigurationError as error:
                raise CommandFailed(f"configuration has errors: {'; '.join(error.lines)}") from error
            return CommandOutcome(await self.threads.run_long(self._differences, config))

    def _differences(self, config: Config) -> tuple[str, ...]:
        stuck = self._stuck(config)
        found = changes(self.in_force, config)
        lines = [f"{one}{NOTE if one.section in stuck and one.key not in QUOTAS else ''}" for one in found]
        if not found:
            return ("no changes",)
        total = f"{len(found)} change{'s' * (len(found) != 1)}"
        return (*lines, f"{total}; {_restart(stuck)}" if stuck else total)

    @property
    def in_force(self) -> Config:
        """What the server uses: the last loaded configuration, except for what needs a restart."""
        last = self._in_force
        kept = {name: getattr(self.started, name) for name in self._stuck(last)}
        if "storage" in kept:
            quotas = {"quota": last.storage.quota, "quota_messages": last.storage.quota_messages}
            kept["storage"] = attrs.evolve(kept["storage"], **quotas)
        return attrs.evolve(last, **kept)

    def _stuck(self, config: Config) -> list[str]:
        return [name for name in NEEDS_RESTART if _lasting(config, name) != _lasting(self.started, name)]

    async def _prepare(self) -> tuple[Config, list[Callable[[], None]]]:
        config = await self.threads.run_long(self._read)
        return config, [await component.prepare(config) for component in self.components]

    async def _reload(self) -> str:
        loaded = time.time()
        try:
            config, commits = await self._prepare()
        except ConfigurationError as error:
            text = f"configuration refused, the old one stays in force: {'; '.join(error.lines)}"
            report(ConfigurationRejected(reason=text))
            raise CommandFailed(text) from error
        for commit in commits:
            commit()
        self._in_force, self.loaded = config, loaded
        self.on_change(self.in_force)
        if (warning := await self.threads.run_long(exposure, self.path, config)) is not None:
            report(ConfigurationWarning(reason=warning))
        await publish(self.peers, RELOADED, config, self.reactor)
        return self._outcome(config)

    def _follow(self, config: Config) -> Deferred[None]:
        """Put the configuration of the first worker in force."""
        return self.tasks.start(self._following(config))

    async def _following(self, config: Config) -> None:
        async with self.changing:
            commits = [await component.prepare(config) for component in self.components]
            for commit in commits:
                commit()
            self._in_force, self.loaded = config, time.time()

    def _read(self) -> Config:
        config = self.read()
        check(self.path, config, self.names(), self.reactor, inherits=self.inherits)
        # Two copies of thousands of accounts would fragment the heap, which could then not be returned.
        return self._in_force if config == self._in_force else config

    def _outcome(self, config: Config) -> str:
        text = "configuration reloaded"
        if stuck := self._stuck(config):
            text += f", but {_restart(stuck)}"
            report(RestartNeeded(reason=text))
        else:
            report(ConfigurationReloaded(reason=text))
        return text
