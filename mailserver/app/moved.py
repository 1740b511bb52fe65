"""Which mailboxes have moved to other names: the file ``moved-mailboxes`` in the data directory.

The record has an effect only while no account has the old name. Then mail that is on its way to the old
mailbox, because its recipient was looked up before, or because it waits in the queue, goes to the new one.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mailserver.durable.disk import Disk
from mailserver.errors import AccountError, StorageError, storage_errors
from mailserver.mail.address import Address
from mailserver.mail.names import folder_name


class MovedMailboxes:
    """The record in the file ``path``, None to keep it in memory only. ``has_mail`` says whether there is
    still mail under an old name, by default whether its Maildir exists; it blocks, and may raise
    :class:`~mailserver.errors.StorageError`."""

    def __init__(
        self,
        path: Path | None = None,
        disk: Disk | None = None,
        has_mail: Callable[[Address], bool] | None = None,
    ) -> None:
        self._path = path
        self._has_mail = has_mail or self._has_folder
        self._disk = disk or Disk()
        self._moves: Mapping[Address, Address] = {}

    def open(self) -> None:
        """Read the file. Blocks; raises :class:`~mailserver.errors.StorageError`."""
        if self._path is None:
            return
        with storage_errors(self._path):
            try:
                found = json.loads(self._path.read_text("utf-8"))
                self._moves = {Address.parse(old).key: Address.parse(new) for old, new in found}
            except FileNotFoundError:
                self._moves = {}
            except TypeError as error:
                raise StorageError(f"{self._path}: {error}") from error

    def add(self, pairs: Mapping[Address, Address]) -> None:
        """Record moves, durably. Blocks; raises :class:`~mailserver.errors.StorageError`."""
        self._put({**self._moves, **{old.key: new for old, new in pairs.items()}})

    def release(self, address: Address) -> None:
        """Forget the move from this name, which another account gets.

        Blocks. Raises :class:`~mailserver.errors.AccountError` if the mailbox has not moved yet.
        """
        if address.key not in self._moves:
            return
        if self._has_mail(address):
            raise AccountError(f"the mailbox {address} must first move to another name: restart the server")
        self.prune(lambda key: key == address.key)

    def _has_folder(self, address: Address) -> bool:
        if self._path is None:
            return False
        box = self._path.parent / "mail" / folder_name(address.domain) / folder_name(address.local)
        return os.path.lexists(box)

    def prune(self, is_there: Callable[[Address], bool]) -> None:
        """Forget the moves from names that accounts have."""
        left = {old: new for old, new in self._moves.items() if not is_there(old)}
        if left != self._moves:
            self._put(left)

    def _put(self, moves: Mapping[Address, Address]) -> None:
        if self._path is not None:
            text = json.dumps([(str(old), str(new)) for old, new in moves.items()])
            with storage_errors(self._path):
                self._disk.replace(self._path, f"{text}\n".encode())
        self._moves = moves

    def current(self, mailbox: Address, is_there: Callable[[Address], bool]) -> Address:
        """The mailbox, or the one that it has become. ``is_there`` says whether an account has a name."""
        if not self._moves:
            return mailbox
        seen = set()
        while mailbox.key in self._moves and mailbox.key not in seen and not is_there(mailbox):
            seen.add(mailbox.key)
            mailbox = self._moves[mailbox.key]
        return mailbox

    def pending(self, is_there: Callable[[Address], bool]) -> Mapping[Address, Address]:
        """The old mailboxes that may still have mail, and what they have become."""
        return {
            old: now
            for old in self._moves
            if not is_there(old) and (now := self.current(old, is_there)) != old
        }
