"""What can go wrong, in the words of the domain.

No reply codes here: ``smtp`` and ``pop3`` turn these into replies.
"""

import errno


class MailserverError(Exception):
    """Base of everything this package raises on purpose."""


class AddressError(MailserverError, ValueError):
    """A mail address that does not follow its grammar; the text says where."""


class ConfigurationError(MailserverError):
    """One or more things are wrong in the configuration; ``lines`` has one line for each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class AccountError(MailserverError):
    """What was asked of the accounts cannot be; the text, one line, says why and never has a secret."""


class StorageError(MailserverError):
    """The store failed for now; nothing was kept, trying again may help."""


class StorageFull(StorageError):
    """There is no room for now."""


class MailboxFull(StorageError):
    """Mailboxes have reached their quota; ``mailboxes`` are their addresses."""

    def __init__(self, text: str, mailboxes: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.mailboxes = mailboxes


def storage_error(error: OSError) -> StorageError:
    """The same failure in the words of the domain."""
    kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))


class MessageDamaged(MailserverError):
    """The octets kept of a message are not those that were taken in, or are nowhere to be found."""


class TornMessage(StorageError):
    """A file that is not what was taken in can be seen in a mailbox, and could not be set aside."""


class MaildropInUse(MailserverError):
    """Another session holds the exclusive lock of the maildrop (RFC 1939 section 4)."""


class MessageVanished(MailserverError):
    """A message of the snapshot is no longer in the store: something else removed it."""


class CannotStart(MailserverError):
    """A port, a folder or a file that the server needs cannot be had; the text says which and why."""


class DataInUse(MailserverError):
    """Another server holds the data directory; the text names it."""


def one_line(text: str) -> str:
    """``text`` with all characters that are not printable escaped, as one line for a log or a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
