"""Writes the messages of a source to a new mbox in the format mboxrd, and verifies it.

Each message gets LF line ends, and a blank line after it. A line that begins with ``From ``, after any
number of ``>``, gets one ``>`` more.
"""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mailserver.durable.disk import Disk
from mailserver.errors import StorageError, storage_error
from mailserver.migration.mbox import MboxSource
from mailserver.migration.source import MessageSource, SourceMessage
from mailserver.migration.transfer import Transferred, User
from mailserver.store.intake import digest

_TO_QUOTE = re.compile(rb"^(>*From )", re.MULTILINE)
_RETURN_PATH = re.compile(rb"\A(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?return-path:[ \t]*<([^>\s]+)>", re.I)
PART = ".part"


class MboxExport:
    """One export to the file ``path``, which must not exist. An interrupted one leaves ``path`` with
    ``.part`` at its end, which the next one replaces."""

    def __init__(self, source: MessageSource, path: Path, disk: Disk, reading: User) -> None:
        self._source = source
        self._path = path
        self._disk = disk
        self._reading = reading
        self._digests: list[bytes] = []
        self._result = Transferred()

    def run(self, show: Callable[[int, int], None]) -> Transferred:
        """Write the mbox. ``show`` is told how many messages are done, and of how many.

        Raises :class:`~mailserver.errors.StorageError`; then there is no file at ``path``.
        """
        part = self._path.with_name(self._path.name + PART)
        try:
            with self._reading():
                found = list(self._source.messages())
            part.unlink(missing_ok=True)
            self._disk.write_file(part, self._all(found, show))
            self._verify(part)
            self._disk.link(part, self._path)  # never over another file
            self._disk.remove(part)
            self._disk.sync_dir(self._path.parent)
        except OSError as error:
            raise storage_error(error) from error
        self._result.problems += self._source.problems
        return self._result

    def _all(self, found: list[SourceMessage], show: Callable[[int, int], None]) -> Iterator[bytes]:
        for number, message in enumerate(found, 1):
            text = self._read(message)
            if text is not None:
                lines = text.replace(b"\r\n", b"\n")
                lines += b"" if lines.endswith(b"\n") or not lines else b"\n"
                self._digests.append(digest([lines]))
                yield _from_line(lines, message.when) + _TO_QUOTE.sub(rb">\1", lines) + b"\n"
                self._result.copied += 1
                self._result.octets += len(lines)
            show(number, len(found))

    def _read(self, message: SourceMessage) -> bytes | None:
        """The octets of a message; None if it cannot be read."""
        opened = message.open()
        try:
            with self._reading():
                chunks = opened.__enter__()
            try:
                return b"".join(chunks)
            finally:
                opened.__exit__(None, None, None)
        except FileNotFoundError:
            self._result.vanished += 1
        except OSError as error:
            self._result.problems.append(f"{message.place}: {error.strerror or error}")
        return None

    def _verify(self, path: Path) -> None:
        written = []
        for message in MboxSource(path).messages():
            with message.open() as chunks:
                written.append(digest(chunks))
        if written != self._digests:
            self._disk.remove(path)
            raise StorageError(f"{path} does not have the messages that were written")


def _from_line(message: bytes, when: float) -> bytes:
    """The line before a message, with its sender and its time (UTC)."""
    found = _RETURN_PATH.match(message)
    sender = found[1] if found is not None else b"MAILER-DAEMON"
    return b"From %s %s\n" % (sender, time.asctime(time.gmtime(when)).encode())
