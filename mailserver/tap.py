"""``twistd mailserver``: its options, and the service made from them."""

import os
from collections.abc import Mapping, Sequence
from getopt import GetoptError
from pathlib import Path
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python import usage

from mailserver.accounts import external_checkers
from mailserver.accounts.cred import IBearerToken
from mailserver.app.startup import DaemonStartup, Startup
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import DEFAULT_CONFIG, load
from mailserver.config.schema.problems import near, show
from mailserver.config.sources import external_names, options
from mailserver.errors import ConfigurationError, one_line
from mailserver.interfaces import IReactor
from mailserver.logs.destination import log_observer

STAYS_ROOT = "the server would keep running as root; use --uid and --gid of twistd, or set allow_root = true"


def _long_names(options: usage.Options) -> list[str]:
    return [name.removesuffix("=") for name in options.longOpt]


class Options(usage.Options, AuthOptionMixin):
    """The options of ``twistd mailserver``. Most of them set a key of the configuration."""

    supportedInterfaces = (IUsernamePassword, IBearerToken)

    synopsis = "[options]"
    longdesc = (
        "A mail server for SMTP and POP3 with one mailbox store. All options except --config, --ready-file "
        "and those of --auth set a key of the configuration file. They take precedence over the environment "
        "and the file. --auth adds a checker, such as file:PATH, which verifies passwords in addition to "
        "those of the accounts."
    )
    optParameters = [
        ["config", "c", DEFAULT_CONFIG, "Configuration file."],
        ["ready-file", None, None, "File that the server writes when all listeners are open, in JSON."],
        *([name, None, None, about] for name, _, about in options()),
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self.checker_texts: list[str] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Raises SystemExit with one line for wrong usage. Twisted would print the whole help before it."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            text = one_line(self._wrong_usage(error))
            if not text.endswith(("?", ".")):
                text += "."
            raise SystemExit(f"twistd mailserver: {text} See: twistd mailserver --help") from None

    def opt_auth(self, description: str) -> None:
        self.checker_texts.append(description)
        AuthOptionMixin.opt_auth(self, description)

    opt_auth.__doc__ = AuthOptionMixin.opt_auth.__doc__

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
        """The keys that the command line sets: their texts by dotted name."""
        return {key: self[name] for name, key, _ in options() if self[name] is not None}


def makeService(options: Options) -> MultiService:
    """The server as a service. Raises SystemExit with one line for each error."""
    # twistd chooses the reactor before it calls this.
    from twisted.internet import reactor as chosen

    from mailserver.app.build import make_service
    from mailserver.app.process import ServerProcess, use_steady_clock
    from mailserver.app.service import MailService
    from mailserver.app.systemd import SystemdNotifier
    from mailserver.app.workers.build import make_supervisor
    from mailserver.app.workers.count import worker_count
    from mailserver.app.workers.supervisor import Supervisor

    service: MailService | Supervisor

    use_steady_clock(chosen)
    reactor = cast(IReactor, chosen)
    path = Path(options["config"]).absolute()
    ready_file = options["ready-file"] and Path(options["ready-file"]).absolute()
    overrides = options.overrides()
    systemd = SystemdNotifier.from_environment(reactor, os.environ)

    def read() -> Config:
        return load(path, os.environ, overrides)

    try:
        if os.geteuid() == 0 and not _drops_privileges(options) and not read().allow_root:
            raise ConfigurationError([f"{path}: allow_root: {STAYS_ROOT}"])
        checkers = options.get("credCheckers", ())
        # twistd changes the working directory when it goes to the background.
        external_checkers.make_absolute(checkers)
        if problems := external_checkers.problems(checkers):
            raise ConfigurationError(problems)
        names = external_names(os.environ, overrides)
        config = read()
        count = worker_count(config)
        if count == 1:
            service = make_service(reactor, path, read, checkers, external=names)
            observer = log_observer(reactor, options.parent, config.log, config.hostname, path)
        else:
            observer = log_observer(reactor, options.parent, config.log, config.hostname, path)
            service = make_supervisor(
                reactor,
                path,
                config,
                count,
                observer,
                overrides=overrides,
                external=names,
                checkers=options.checker_texts,
            )
    except ConfigurationError as error:
        raise SystemExit("\n".join(error.lines)) from None
    return ServerProcess(reactor, service, path, ready_file, observer, _startup(options.parent), systemd)


def _startup(twistd: Mapping[str, Any] | None) -> Startup:
    """Where the outcome of the start is reported, which depends on the options of twistd, if any."""
    if twistd is None or "nodaemon" not in twistd:
        return Startup()
    if twistd["nodaemon"]:
        return Startup(twistd["pidfile"])
    log = "the system log" if twistd["syslog"] else str(Path(twistd["logfile"] or "twistd.log").absolute())
    return DaemonStartup(twistd["pidfile"], log)


def _drops_privileges(options: Options) -> bool:
    """True if twistd changes to another user for good. A change by --euid can be undone."""
    parent = options.parent
    return parent is not None and bool(parent.get("uid")) and not parent.get("euid")
