"""For the commands about the configuration: the values in force, and the checks of a start."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import attrs

from mailserver.app.accounts import stored_names
from mailserver.app.check import check
from mailserver.app.signing import Signing
from mailserver.app.tls import TLSService
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.config.written import values_of
from mailserver.control.channel import CommandOutcome, Request
from mailserver.durable.disk import Disk
from mailserver.errors import ConfigurationError
from mailserver.interfaces import IReactor

CONFIGURATION = "configuration"
SOCKET_OF_SYSTEMD = "systemd:"


def running_values(config: Config, external: Mapping[str, str], request: Request) -> CommandOutcome:
    """The values in force by key, and the names of the options and variables that set keys, as JSON."""
    values = values_of(config, secrets=request.get("secrets") is True)
    return CommandOutcome((json.dumps({"values": values, "external": dict(external)}),))


def without_listeners(config: Config) -> Config:
    """The same without listeners and TLS, whose sockets and keys may be there for a service only."""
    return attrs.evolve(config, listen=(), tls=None, certificates=())


def problems(path: Path) -> list[str]:
    """The lines of all errors for which a start with this file and this environment would fail. Blocks.

    Not what only the start can find out, such as a port in use or a socket that systemd does not pass.
    """
    from twisted.internet import reactor as chosen

    reactor = cast(IReactor, chosen)
    try:
        config = load(path, os.environ)
    except ConfigurationError as error:
        return error.lines
    passed = [
        attrs.evolve(one, endpoint="tcp:0") if one.endpoint.startswith(SOCKET_OF_SYSTEMD) else one
        for one in config.listen
    ]
    config = attrs.evolve(config, listen=tuple(passed))
    checks: tuple[Callable[[], object], ...] = (
        lambda: check(path, config, stored_names(config), reactor),
        lambda: TLSService(path, config, reactor, Disk()),
        lambda: Signing(path, config),
    )
    lines = []
    for one in checks:
        try:
            one()
        except ConfigurationError as error:
            lines += error.lines
    return lines
