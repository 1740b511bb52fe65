"""The locks of mailboxes: one POP3 session at a time may have a mailbox (RFC 1939 section 4)."""

from mailserver.durable.lock import NameLocks


class MailboxLocks:
    """The locks that this process holds. ``shared`` are those of all processes of the server, None if there
    is only one. For the thread of the reactor."""

    def __init__(self, shared: NameLocks | None = None) -> None:
        self._shared = shared
        self._held: set[str] = set()

    def acquire(self, mailbox: str) -> bool:
        """Lock a mailbox, by its path below the root; False if a session has it. Raises ``OSError``."""
        if mailbox in self._held or not (self._shared is None or self._shared.acquire(mailbox)):
            return False
        self._held.add(mailbox)
        return True

    def release(self, mailbox: str) -> None:
        """Unlock a mailbox."""
        self._held.discard(mailbox)
        if self._shared is not None:
            self._shared.release(mailbox)
