"""Builds the supervisor from a configuration."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
from twisted.logger import ILogObserver

from mailserver.app.accounts import stored_names
from mailserver.app.check import check
from mailserver.app.tls import TLSService, kept_pairs
from mailserver.app.workers.supervisor import Supervisor
from mailserver.config.keys.top_level import Config
from mailserver.durable.disk import Disk
from mailserver.events.base import report
from mailserver.events.cluster import WorkerLogged
from mailserver.interfaces import IReactor
from mailserver.logs.lines import LineObserver


def make_supervisor(
    reactor: IReactor,
    path: Path,
    config: Config,
    count: int,
    observer: ILogObserver | None,
    *,
    overrides: Mapping[str, str],
    external: Mapping[str, str],
    checkers: Sequence[str],
) -> Supervisor:
    """The supervisor of ``count`` workers, whose log lines go to the same place as those of ``observer``,
    None for Twisted's own log. ``checkers`` are the texts of ``--auth``.

    Raises :class:`~mailserver.errors.ConfigurationError`.
    """
    check(path, config, stored_names(config), reactor)
    TLSService(path, config, reactor, Disk())  # raises the errors of the certificates
    section = config.log
    log: Callable[[bytes], object] | None = _in_twisted_log
    if isinstance(observer, LineObserver):
        log = None if observer.is_standard_output else observer.write_lines
    elif observer is None:
        section = attrs.evolve(section, format="text")
    return Supervisor(
        path,
        config,
        count,
        reactor,
        log,
        log_section=section,
        overrides=overrides,
        external=external,
        checkers=tuple(checkers),
        kept=kept_pairs(config),
    )


def _in_twisted_log(lines: bytes) -> None:
    for line in lines.decode("utf-8", "backslashreplace").splitlines():
        report(WorkerLogged(line=line))
