"""Messages on their way from another worker to the first one, which accepts them.

A small content is a part of the question. A large one is written to a file in the folder for large messages,
not synced, which exists until the answer. A file that a crash leaves is removed when its worker starts again,
or by the first worker if it does not exist any more.
"""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NoReturn

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.durable.disk import Disk
from mailserver.errors import MessageDamaged, StorageError
from mailserver.interfaces import Delivery, IContent
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.queued import QueuedRecipient
from mailserver.queue.entries import InMemoryContent, RecordedAttempt
from mailserver.queue.spool import Spool
from mailserver.queue.sqlite.contents import Contents, FileContent

ACCEPT = "accept"
"""The question for the first worker to accept a message, answered with the rejected mailboxes."""

INLINE = 256 * 1024  # octets; larger contents are passed in a file
_NAME = re.compile(r"forwarded\.([1-9][0-9]*)\.[0-9]+")


@attrs.frozen
class ForwardedMessage:
    """A message with the arguments of :meth:`~mailserver.queue.spool.Spool.accept`."""

    content: InMemoryContent | FileContent
    envelope: Envelope
    deliveries: Sequence[Delivery]
    remote: Sequence[QueuedRecipient]
    recorded: RecordedAttempt | None
    together: Sequence[Collection[Address]] | None


def accept_forwarded(spool: Spool, message: ForwardedMessage) -> "Deferred[Collection[Address]]":
    """Accept a message of another worker in the spool of the first one."""
    return spool.accept(
        message.content, message.envelope, message.deliveries, message.remote, message.recorded,
        together=message.together,
    ).addErrback(_damaged)  # fmt: skip


def _damaged(failure: Failure) -> NoReturn:
    """The other worker has ended, and its file is removed."""
    failure.trap(MessageDamaged)
    raise StorageError(str(failure.value)) from failure.value


class ForwardedContents:
    """The contents that the worker with ``number`` forwards, in files in ``folder``. Blocks."""

    def __init__(
        self, folder: Path, number: int, disk: Disk, check_room: Callable[[], None] = lambda: None
    ) -> None:
        """``check_room`` raises ``OSError`` if the disk is too full."""
        self._files = Contents(folder, disk)
        self._disk = disk
        self._number = number
        self._check_room = check_room
        self._counter = count()

    def copy(self, content: IContent) -> InMemoryContent | FileContent:
        """A content that another process can read. Raises ``OSError``."""
        if content.size <= INLINE:
            return InMemoryContent(b"".join(content.chunks()))
        self._check_room()
        return self._files.write(f"forwarded.{self._number}.{next(self._counter)}", content, sync=False)

    def remove(self, content: InMemoryContent | FileContent) -> None:
        """Remove a copy."""
        if isinstance(content, FileContent):
            self._files.remove(Path(content.path).name)

    def remove_left_over(self) -> None:
        """Remove the files that this worker has left when it ended. Raises ``OSError``."""
        remove_left_over(self._files.folder, self._disk, lambda number: number == self._number)


def remove_left_over(folder: Path, disk: Disk, is_over: Callable[[int], bool]) -> None:
    """Remove the files of workers whose numbers meet a condition. Blocks; raises ``OSError``."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if (match := _NAME.fullmatch(path.name)) and is_over(int(match[1])):
                disk.remove(path)
