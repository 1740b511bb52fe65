"""``twistd mailserver``: the options, and the service that they ask for."""

import os
from collections.abc import Mapping, Sequence
from getopt import GetoptError
from pathlib import Path
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python import usage

from mailserver.app.startup import DaemonStartup, Startup
from mailserver.auth import others
from mailserver.auth.proofs import IBearerToken
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import DEFAULT_CONFIG, load
from mailserver.config.schema.problems import near, show
from mailserver.config.sources import options
from mailserver.errors import ConfigurationError, one_line
from mailserver.interfaces import IReactor
from mailserver.logs.lines import observer_for

STAYS_ROOT = (
    "the server would go on as root; start it with twistd's --uid and --gid, or set allow_root = true"
)


def _long_names(options: usage.Options) -> list[str]:
    return [name.removesuffix("=") for name in options.longOpt]


class Options(usage.Options, AuthOptionMixin):
    """What may stand after ``twistd mailserver``; most options are keys of the configuration."""

    supportedInterfaces = (IUsernamePassword, IBearerToken)

    synopsis = "[options]"
    longdesc = (
        "A mail server: SMTP and POP3 from one shared mailbox store. Every option but the first two and "
        "those about --auth is a key of the configuration file, and wins over the file and over the "
        "environment. --auth names a checker that is asked about passwords that are none of the accounts' "
        "own, such as file:PATH."
    )
    optParameters = [
        ["config", "c", DEFAULT_CONFIG, "The configuration file."],
        ["ready-file", None, None, "Write a JSON file here once every port is open."],
        *([name, None, None, about] for name, _, about in options()),
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Raises SystemExit with one line for wrong usage; Twisted would print the whole help before it."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            text = one_line(self._wrong_usage(error))
            if not text.endswith(("?", ".")):
                text += "."
            raise SystemExit(f"twistd mailserver: {text} See: twistd mailserver --help") from None

    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(f"unexpected argument {show(words[0])}")

    def _wrong_usage(self, error: usage.UsageError) -> str:
        cause = error.__context__
        if not isinstance(cause, GetoptError) or not cause.msg.endswith("not recognized"):
            return str(error)
        name = cause.opt
        text = f"unknown option {'--' if cause.msg.startswith('option --') else '-'}{name}"
        if self.parent is not None and name in (*_long_names(self.parent), *self.parent.shortOpt):
            return f'{text}; an option of twistd is written before "mailserver"'
        guess = near(name, _long_names(self))
        return f"{text}; did you mean --{guess}?" if guess else text

    def overrides(self) -> dict[str, str]:
        """The keys of the configuration that were given, by their dotted names."""
        return {key: self[name] for name, key, _ in options() if self[name] is not None}


def makeService(options: Options) -> MultiService:
    """The server as a service. Raises SystemExit, with a line for each thing that is wrong."""
    # Twisted wants the reactor to be imported late, when twistd has chosen one.
    from twisted.internet import reactor as chosen

    from mailserver.app.build import make_service
    from mailserver.app.process import ServerProcess, use_steady_clock

    use_steady_clock(chosen)
    reactor = cast(IReactor, chosen)
    path = Path(options["config"]).absolute()
    ready_file = options["ready-file"] and Path(options["ready-file"]).absolute()
    overrides = options.overrides()

    def read() -> Config:
        return load(path, os.environ, overrides)

    try:
        if os.geteuid() == 0 and not _drops_privileges(options) and not read().allow_root:
            raise ConfigurationError([f"{path}: allow_root: {STAYS_ROOT}"])
        checkers = options.get("credCheckers", ())
        # twistd changes the folder when it goes to the background.
        others.make_absolute(checkers)
        if problems := others.problems(checkers):
            raise ConfigurationError(problems)
        service = make_service(reactor, path, read, checkers)
        observer = observer_for(reactor, options.parent, service.config.log.format)
    except ConfigurationError as error:
        raise SystemExit("\n".join(error.lines)) from None
    return ServerProcess(reactor, service, path, ready_file, observer, _startup(options.parent))


def _startup(twistd: Mapping[str, Any] | None) -> Startup:
    """What the outcome of the start is reported to, by the options of twistd, if it is twistd."""
    if twistd is None or "nodaemon" not in twistd:
        return Startup()
    if twistd["nodaemon"]:
        return Startup(twistd["pidfile"])
    log = "the system log" if twistd["syslog"] else str(Path(twistd["logfile"] or "twistd.log").absolute())
    return DaemonStartup(twistd["pidfile"], log)


def _drops_privileges(options: Options) -> bool:
    """True if twistd was told another user to go on as, for good: --euid alone can be taken back."""
    parent = options.parent
    return parent is not None and bool(parent.get("uid")) and not parent.get("euid")
