"""The exceptions of the domain. They have no reply codes; ``smtp`` and ``pop3`` turn them into replies."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MailserverError(Exception):
    """Base class of all exceptions that this package raises on purpose."""


class AddressError(MailserverError, ValueError):
    """A mail address is malformed; the text says how."""


class ConfigurationError(MailserverError):
    """The configuration has errors; ``lines`` has one line for each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines

    def __reduce__(self) -> tuple[type["ConfigurationError"], tuple[list[str]]]:
        """For ``pickle``: it is made from its lines."""
        return type(self), (self.lines,)


class AccountError(MailserverError):
    """A change of the accounts is impossible. The text is one line and never contains a secret."""


class StorageError(MailserverError):
    """The storage has failed temporarily. Nothing was kept; a later attempt may succeed."""


class StorageFull(StorageError):
    """The disk is full."""


class StorageRefused(StorageError):
    """The system denies access to the storage, or it is not safe to use. An administrator must mend it."""


class MailboxFull(StorageError):
    """Mailboxes have reached their quota; ``mailboxes`` are their addresses."""

    def __init__(self, text: str, mailboxes: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.mailboxes = mailboxes


_KINDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), StorageFull),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.ELOOP), StorageRefused),
}


def storage_error(error: OSError) -> StorageError:
    """Convert an error of the operating system."""
    kind = _KINDS.get(error.errno or 0, StorageError)
    return kind(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))


@contextmanager
def storage_errors(place: Path | str) -> Iterator[None]:
    """Raise errors of the disk, and of damaged values in a file or a database, as :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error) from error
    except ValueError as error:
        raise StorageError(f"{place}: {error}") from error


class MessageDamaged(MailserverError):
    """The stored octets of a message are missing, or differ from those that were accepted."""


class TornMessage(StorageError):
    """A mailbox shows an incomplete message, and its file cannot be set aside."""


class MaildropInUse(MailserverError):
    """Another session holds the exclusive lock of the maildrop (RFC 1939 section 4)."""


class MessageVanished(MailserverError):
    """Another program has removed a message of the snapshot."""


class HostUnusable(MailserverError):
    """Another server cannot take mail now. The text is for people and begins with ``host``.

    ``reply`` is the reply that decided, "" without a reply. ``tls_failed``: TLS was tried and has failed.
    ``tls_problem`` is the problem of TLS as a result type of RFC 8460 section 4.3, "" if there is none, None
    if TLS was not wanted.
    """

    def __init__(
        self,
        text: str,
        host: str,
        reply: str = "",
        *,
        tls_failed: bool = False,
        tls_problem: str | None = None,
    ) -> None:
        super().__init__(text)
        self.host = host
        self.reply = reply
        self.tls_failed = tls_failed
        self.tls_problem = tls_problem


class CannotStart(MailserverError):
    """A port, a folder or a file that the server needs is not available; the text says which and why."""


class DataInUse(MailserverError):
    """Another server has locked the data directory; the text names that server."""


class DNSFailure(MailserverError):
    """A DNS lookup has failed temporarily; the text names the name, the kind of records and the reason."""


class FilterFailed(MailserverError):
    """A mail filter cannot be asked, or has not followed its protocol; the text says why."""


def one_line(text: str) -> str:
    """Escape all characters of ``text`` that are not printable, for one line of a log or a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
