"""Fills the accounts, the mailboxes and the queue of a server that does not run.

The code of the server writes everything, but without syncs.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mailserver.accounts.credentials import StoredCredentials
from mailserver.accounts.passwords import StoredPassword
from mailserver.accounts.sqlite.engine import SQLiteAccounts
from mailserver.accounts.store import AccountStore
from mailserver.durable.calls import StrPath, SystemCalls
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.interfaces import Delivery, QueuedMessage, Staged
from mailserver.mail.address import Address
from mailserver.mail.ids import new_id
from mailserver.mail.queued import QueuedRecipient
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.sqlite.engine import SQLiteSpool
from mailserver.store.listing import Listings
from mailserver.store.quota import Quotas
from mailserver.store.writer import MaildirWriter

from .errors import BenchError
from .servers import DOMAIN, PASSWORD

TOGETHER = 5_000  # messages in one transaction
GROUP = 500  # messages staged together
HEAD = b"Return-Path: <sender@client.example>\r\n"


class Unsynced(SystemCalls):
    """The system calls, without syncs."""

    def fsync(self, descriptor: int) -> None:
        pass


class OneFile(Disk):
    """Writes all files as links to the same file, as far as the file system allows."""

    def __init__(self) -> None:
        super().__init__(Unsynced())
        self._path: StrPath = ""

    def write_file(self, path: StrPath, chunks: Iterable[bytes], *, sync: bool = True) -> None:
        content = list(chunks)
        try:
            self.link(self._path, path)
        except OSError:  # the first one, or too many links
            super().write_file(path, content, sync=sync)
            self._path = path


def accounts(path: Path, users: Sequence[str]) -> None:
    """Add accounts with these local parts to the account store at ``path``."""
    store = AccountStore(SQLiteAccounts(path, Disk(Unsynced())))
    credentials = StoredCredentials(StoredPassword.read(PASSWORD))
    store.import_accounts({Address(user, DOMAIN): credentials for user in users})
    store.close()


def mailboxes(root: Path, users: Sequence[str], messages: int, octets: int) -> None:
    """Deliver so many messages of ``octets`` to each of these mailboxes. ``root`` is the folder of all.

    The messages are links to the same file, like the copies for several mailboxes.
    """
    disk = OneFile()
    quotas = Quotas(root, lambda mailbox: None)
    damaged = DamagedFolder(root.parent / "damaged", disk)
    writer = MaildirWriter(
        root, f"mail.{DOMAIN}", disk, damaged, Listings(), quotas, 0, lambda mailbox: mailbox
    )
    content = InMemoryContent(text(octets - len(HEAD)))
    for user in users:
        delivery = Delivery(Address(user, DOMAIN), HEAD)
        for first in range(0, messages, GROUP):
            for staged in writer.stage([(content, [delivery])] * min(GROUP, messages - first)):
                if not isinstance(staged, Staged):
                    raise BenchError(f"{user}: {staged}")
                writer.publish(staged.copies)


def text(octets: int) -> bytes:
    """A message of so many octets, or a few more."""
    head = b"Subject: it waits\r\n\r\n"
    lines = max(1, (octets - len(head)) // 72)
    return head + (b"x" * 70 + b"\r\n") * lines + b"x" * max(0, octets - len(head) - 72 * lines - 2) + b"\r\n"


def queue(
    path: Path,
    messages: int,
    sender: str,
    content: InMemoryContent,
    recipient: Callable[[int], QueuedRecipient],
) -> None:
    """Put so many messages into the spool at ``path``. ``recipient`` makes the recipient of each.

    Contents that are not in a row are links to the same file.
    """
    engine = SQLiteSpool(path, OneFile())
    last = engine.open()
    now = time.time()
    for first in range(0, messages, TOGETHER):
        transaction = engine.begin()
        for number in range(first, min(first + TOGETHER, messages)):
            message = QueuedMessage(last + number + 1, new_id(), now, sender, content.size, content)
            transaction.enqueue(message, [recipient(number)])
        transaction.commit()
    engine.close()
