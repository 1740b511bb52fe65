"""``twistd mailserver``: the options, and the service that they ask for."""

import os
import time
from pathlib import Path
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.python import usage

from mailserver.config.loader import load
from mailserver.config.model import Config
from mailserver.config.sources import options
from mailserver.errors import ConfigurationError
from mailserver.interfaces import IReactor

DEFAULT_CONFIG = "/etc/mailserver/mailserver.toml"

STAYS_ROOT = (
    "the server would go on as root; start it with twistd's --uid and --gid, or set allow_root = true"
)


class Options(usage.Options):
    """What may stand after ``twistd mailserver``; most options are keys of the configuration."""

    synopsis = "[options]"
    longdesc = (
        "A mail server: SMTP and POP3 from one shared mailbox store. Every option but the first two is a "
        "key of the configuration file, and wins over the file and over the environment."
    )
    optParameters = [
        ["config", "c", DEFAULT_CONFIG, "The configuration file."],
        ["ready-file", None, None, "Write a JSON file here once every port is open."],
        *([name, None, None, about] for name, _, about in options()),
    ]

    def overrides(self) -> dict[str, str]:
        """The keys of the configuration that were given, by their dotted names."""
        return {key: self[name] for name, key, _ in options() if self[name] is not None}


def makeService(options: Options) -> MultiService:
    """The server as a service. Raises SystemExit, with a line for each thing that is wrong."""
    # Twisted wants the reactor to be imported late, when twistd has chosen one.
    from twisted.internet import reactor as chosen

    from mailserver.service import make_service

    _steady(chosen)
    path = Path(options["config"]).absolute()
    ready_file = options["ready-file"] and Path(options["ready-file"]).absolute()
    overrides = options.overrides()

    def read() -> Config:
        return load(path, os.environ, overrides)

    try:
        if os.geteuid() == 0 and not _drops_privileges(options) and not read().allow_root:
            raise ConfigurationError([f"{path}: allow_root: {STAYS_ROOT}"])
        return make_service(cast(IReactor, chosen), path, read, ready_file)
    except ConfigurationError as error:
        raise SystemExit("\n".join(error.lines)) from None


def _drops_privileges(options: Options) -> bool:
    """True if twistd was told another user to go on as, for good: --euid alone can be taken back."""
    parent = options.parent
    return parent is not None and bool(parent.get("uid")) and not parent.get("euid")


def _steady(reactor: Any) -> None:
    """Have the reactor's time go on evenly: Twisted's is the clock on the wall, which may jump."""
    ahead = reactor.seconds() - time.monotonic()
    reactor.seconds = lambda: time.monotonic() + ahead
