"""Commands while no server runs: each opens the data itself, under its lock."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from mailserver.accounts.passwords import load_schemes
from mailserver.app.accounts import account_admin
from mailserver.app.data import checks, journal_folder
from mailserver.app.effective import EffectiveAccounts
from mailserver.app.moved import MovedMailboxes
from mailserver.app.offline_run import OfflineRun
from mailserver.app.passwd_file import write_passwd_file
from mailserver.app.renaming import read_pairs
from mailserver.app.service import Parts
from mailserver.app.storage import (
    moved_mailboxes,
    open_accounts,
    read_accounts,
    require_files,
    stored_queue,
)
from mailserver.commands.accounts import ACCOUNT_COMMANDS
from mailserver.commands.quarantine import QUARANTINE_COMMANDS
from mailserver.commands.queue import QUEUE_CHANGES, QUEUE_COMMANDS, change_queue
from mailserver.commands.renaming import RENAMING_COMMANDS
from mailserver.commands.sendmail import SENDMAIL
from mailserver.commands.trace import TRACE, trace_command
from mailserver.commands.verification import verify
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.durable.disk import Disk
from mailserver.errors import ConfigurationError, StorageError
from mailserver.store.move import check_move, move_maildir
from mailserver.store.names import mailbox_path


def _verify(data: Path, request: Request) -> Callable[[], CommandOutcome]:
    with suppress(KeyError, ConfigurationError):  # the files can be checked without a configuration
        require_files(load(Path(str(request["config"])), os.environ))
    return partial(verify, data, checks(data, _allows_root(request)))


def _allows_root(request: Request) -> bool:
    """Whether the server may run as root; True if the request names no sound configuration."""
    try:
        return load(Path(str(request["config"])), os.environ).allow_root
    except (KeyError, ConfigurationError):
        return True


def _queue(data: Path, request: Request) -> Callable[[], CommandOutcome]:
    config = load(Path(str(request["config"])), os.environ)
    command = QUEUE_COMMANDS[str(request["command"])]
    return lambda: command(stored_queue(config), request)


def _trace(data: Path, request: Request) -> Callable[[], CommandOutcome]:
    config = load(Path(str(request["config"])), os.environ)
    return lambda: trace_command(journal_folder(data), stored_queue(config), request)


def _change_queue(data: Path, request: Request) -> Callable[[], CommandOutcome]:
    return OfflineRun(Path(str(request["config"])), partial(_change_whole_queue, request))


async def _change_whole_queue(request: Request, parts: Parts) -> CommandOutcome:
    """In one step: the reactor runs only once."""
    outcome = await change_queue(parts.administration, request)
    while outcome.more is not None:
        outcome = await change_queue(parts.administration, {**request, "more": outcome.more})
    return outcome


def _sendmail(data: Path, request: Request) -> Callable[[], CommandOutcome]:
    return OfflineRun(Path(str(request["config"])), lambda parts: parts.submission.run(request))


def _quarantine(data: Path, request: Request) -> Callable[[], CommandOutcome]:
    return OfflineRun(Path(str(request["config"])), partial(_whole_quarantine, request))


async def _whole_quarantine(request: Request, parts: Parts) -> CommandOutcome:
    """In one step: the reactor runs only once."""
    outcome = await parts.quarantine.run(request)
    lines = list(outcome.lines)
    while outcome.more is not None:
        outcome = await parts.quarantine.run({**request, "more": outcome.more})
        lines += outcome.lines
    return CommandOutcome(tuple(lines), outcome.status)


def _accounts(data: Path, request: Request) -> Callable[[], CommandOutcome]:
    config = load(Path(str(request["config"])), os.environ)
    if config.storage.engine == "memory":
        raise CommandFailed(
            'storage.engine is "memory": accounts exist only while a server runs, and no server is running'
        )
    load_schemes()
    return partial(_change_accounts, data, config, request, moved_mailboxes(config, Disk()))


def _rename(data: Path, request: Request) -> Callable[[], CommandOutcome]:
    _accounts(data, request)  # its checks
    config = load(Path(str(request["config"])), os.environ)
    if config.storage.engine == "postgresql":
        raise CommandFailed('storage.engine is "postgresql": mailboxes move only while the server runs')
    return partial(_rename_here, data, config, request)


def _rename_here(data: Path, config: Config, request: Request) -> CommandOutcome:
    """The steps of ``commands.renaming``. Nothing else uses the mailboxes."""
    moved = moved_mailboxes(config, Disk())
    root = data / "mail"
    rehearsed = _change_accounts(data, config, {**request, "rehearse": True}, moved)
    pairs = [(mailbox_path(old), mailbox_path(new)) for old, new in read_pairs(rehearsed)]
    for old, new in pairs:
        check_move(root, old, new)
    outcome = _change_accounts(data, config, request, moved)
    for old, new in pairs:
        move_maildir(root, old, new, Disk())
    return outcome


def _change_accounts(data: Path, config: Config, request: Request, moved: MovedMailboxes) -> CommandOutcome:
    disk = Disk()
    moved.open()
    accounts = open_accounts(config, disk)
    try:
        outcome = ACCOUNT_COMMANDS[str(request["command"])](account_admin(accounts, config, moved), request)
        if config.auth.passwd_file is not None:
            state = EffectiveAccounts.of(config, *accounts.everything())
            write_passwd_file(config, state.directory.accounts, disk)
        return outcome
    finally:
        accounts.close()


PREPARE: Mapping[str, Callable[[Path, Request], Callable[[], CommandOutcome]]] = {
    "verify": _verify,
    SENDMAIL: _sendmail,
    TRACE: _trace,
    **dict.fromkeys(QUARANTINE_COMMANDS, _quarantine),
    **dict.fromkeys(QUEUE_COMMANDS, _queue),
    **dict.fromkeys(QUEUE_CHANGES, _change_queue),
    **dict.fromkeys(ACCOUNT_COMMANDS, _accounts),
    **dict.fromkeys(RENAMING_COMMANDS, _rename),
}
"""The commands that need no server, by name. Each takes the data directory and the request, reads what only
root may read, and returns the work for the owner of the data, who holds its lock."""


def rehearse(data: Path, request: Request) -> CommandOutcome:
    """Have the command check a request, as described in ``commands.accounts``. Only reads."""
    config = load(Path(str(request["config"])), os.environ)
    with suppress(StorageError):  # the command itself reports it
        admin = account_admin(read_accounts(config), config)
        return ACCOUNT_COMMANDS[str(request["command"])](admin, request)
    return CommandOutcome(())
