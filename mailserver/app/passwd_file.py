"""Keeps the file ``auth.passwd_file`` current, by which Dovecot knows the accounts."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from twisted.internet.defer import DeferredLock

from mailserver.accounts.directory import Account
from mailserver.accounts.passwd_export import passwd_file
from mailserver.app.tasks import Tasks
from mailserver.config.keys.top_level import Config
from mailserver.durable.disk import Disk
from mailserver.errors import storage_error
from mailserver.events.accounts import PasswdFileNotWritten
from mailserver.events.base import report
from mailserver.mail.address import Address
from mailserver.mail.names import folder_name
from mailserver.threads.pool import Threads


class PasswdFile:
    """Writes the file when it is told of a change. ``accounts`` returns those in force."""

    def __init__(
        self,
        config: Config,
        accounts: Callable[[], Iterable[Account]],
        disk: Disk,
        threads: Threads,
        tasks: Tasks,
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._disk = disk
        self._threads = threads
        self._tasks = tasks
        self._writing = DeferredLock()
        self._stale = False

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return lambda: self._commit(config)

    def _commit(self, config: Config) -> None:
        self._config = config
        self.changed()

    def changed(self) -> None:
        """Other accounts are in force. The file follows soon."""
        if self._config.auth.passwd_file is not None:
            self._stale = True
            self._tasks.start(self._write())

    async def _write(self) -> None:
        # One write serves all changes that wait.
        async with self._writing:
            if self._stale:
                self._stale = False
                accounts = list(self._accounts())
                await self._threads.run_long(write_passwd_file, self._config, accounts, self._disk)


def write_passwd_file(config: Config, accounts: Iterable[Account], disk: Disk) -> None:
    """Write the file of the configuration, if it names one. Blocks. Reports an error as an event."""
    path = config.auth.passwd_file
    if path is None:
        return

    def home_of(address: Address) -> str:
        return str(config.data / "mail" / folder_name(address.domain) / folder_name(address.local))

    content = passwd_file(accounts, os.geteuid(), os.getegid(), home_of).encode("utf-8", "surrogateescape")
    try:
        before = 0
        with suppress(FileNotFoundError):
            if path.read_bytes() == content:
                return
            before = int(path.stat().st_mtime)
        disk.replace(path, content)
        _make_newer(path, before, disk)
    except OSError as error:
        report(PasswdFileNotWritten(path=path, reason=str(storage_error(error))))


def _make_newer(path: Path, before: int, disk: Disk) -> None:
    """Dovecot reads the file again if its size differs, or its time in whole seconds."""
    if int(path.stat().st_mtime) <= before:
        disk.set_time(path, before + 1)
