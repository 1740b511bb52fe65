"""Copies the spool into a folder while the server goes on.

The copy is the spool of one moment: a read transaction keeps the state of the database, and until the copy is
complete no content of a waiting message is removed. ``take`` is that moment. It is called in the thread that
commits, so that no commit comes between the state of the database and the links to the files in ``tmp/`` of
mailboxes, from which entries without a content are restored. It takes a few milliseconds. Nothing in the
folder is synced:

    stage/queue.db          the database, without a log
    stage/contents/NAME     the contents of waiting messages: links
    stage/mail/PATH         files in tmp/ of mailboxes: links, or copies if the mailbox is another file system
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from zope.interface import implementer

from mailserver.durable.copies import FileAttributes, link_or_copy, make_folders, set_attributes
from mailserver.durable.database import DatabaseSnapshot
from mailserver.durable.disk import Disk
from mailserver.queue.interfaces import ISpoolSnapshot
from mailserver.queue.sql.values import NAME, decode
from mailserver.queue.sqlite.contents import CONTENTS, Contents


@implementer(ISpoolSnapshot)
class SpoolSnapshot:
    """One copy of the spool at ``path`` to the new folder ``stage``. ``mail`` is the folder of all mailboxes.

    All methods block, and raise ``OSError``. They raise ``InterruptedError`` once ``go_on`` returns false.
    """

    def __init__(
        self,
        path: Path,
        contents: Contents,
        disk: Disk,
        mail: Path,
        stage: Path,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._path = path
        self._contents = contents
        self._disk = disk
        self._mail = mail
        self._stage = stage
        self._go_on = go_on
        self._database: DatabaseSnapshot | None = None

    def take(self) -> None:
        """See :class:`~mailserver.queue.interfaces.ISpoolSnapshot`."""
        self._require_time()
        make_folders(self._disk, self._stage / CONTENTS)
        self._contents.hold()
        try:
            self._database = DatabaseSnapshot(self._path)
            for source in self._sources(self._database):
                target = self._stage / "mail" / source
                make_folders(self._disk, target.parent)
                with suppress(FileNotFoundError):  # then a mailbox has the message
                    link_or_copy(self._disk, self._mail / source, target)
        except BaseException:
            self.close()
            raise

    def _sources(self, database: DatabaseSnapshot) -> Iterator[str]:
        for (copies,) in database.rows("SELECT copies FROM entry WHERE copies LIKE '%/tmp/%'"):
            with suppress(ValueError):  # the next start sets a damaged row aside
                yield from [copy.source for copy in decode(copies) if copy.source]

    def write(self) -> None:
        """See :class:`~mailserver.queue.interfaces.ISpoolSnapshot`."""
        database = self._database
        assert database is not None, "take() comes first"
        try:
            for (name,) in database.rows("SELECT content FROM queued WHERE content <> ''"):
                self._require_time()
                if isinstance(name, str) and NAME.fullmatch(name):
                    with suppress(FileNotFoundError):  # it was missing before
                        link_or_copy(self._disk, self._contents.folder / name, self._stage / CONTENTS / name)
            copy = self._stage / self._path.name
            database.copy(copy, self._disk.calls, self._go_on)
            set_attributes(copy, FileAttributes.of(self._path.stat()))
        finally:
            self.close()

    def _require_time(self) -> None:
        if not self._go_on():
            raise InterruptedError("aborted")

    def close(self) -> None:
        """See :class:`~mailserver.queue.interfaces.ISpoolSnapshot`."""
        if self._database is not None:
            self._database.close()
            self._database = None
        self._contents.release()
