"""A recipient that waits in the spool for another attempt."""

import attrs

from mailserver.mail.verdict import Status

LOCAL = "local"
"""The destination of recipients whose mailbox is on this server."""

REMOTE = "smtp"
"""The delivery engine for recipients on other servers."""

HELD = 1e11
"""The due time of a recipient that an administrator holds: the year 5138."""


def remote_destination(domain: str) -> str:
    """The destination of recipients in a domain of another server."""
    return f"{REMOTE}:{domain}"


@attrs.frozen
class FailedAttempt:
    """A failed attempt: its time (seconds since the epoch) and the reason.

    ``host`` is the other server, ``reply`` its last reply, as in :mod:`mailserver.mail.outcome`.
    """

    when: float
    status: Status
    text: str
    host: str = ""
    reply: str = ""


@attrs.frozen
class QueuedRecipient:
    """One recipient of a waiting message.

    ``number`` identifies the recipient within the message. ``destination`` is :data:`LOCAL`, or the name of
    another delivery engine, which may be followed by a colon and a place. ``address`` is the address for
    delivery, ``recipient`` the one that a bounce names. The bounce goes to ``reverse_path``; "" means no
    bounce. ``head`` (trace fields) goes before the content.

    ``attempts`` is the number of failed attempts; ``history`` has the last of them, the newest at the end.
    The next attempt is due at ``next`` (seconds since the epoch). ``notify`` and ``orcpt`` are the parameters
    of RCPT (RFC 3461 section 4) as the client gave them, "" if it gave none. ``warned``: the sender has a
    delay notification.
    """

    number: int
    destination: str
    address: str
    recipient: str
    reverse_path: str
    head: bytes
    attempts: int
    next: float
    history: tuple[FailedAttempt, ...]
    notify: str = ""
    orcpt: str = ""
    warned: bool = False

    @property
    def last(self) -> FailedAttempt:
        """The last failed attempt. Raises ``IndexError`` before the first one."""
        return self.history[-1]

    def due_at(self, next: float) -> "QueuedRecipient":
        """The recipient with another due time."""
        # Several times as fast as attrs.evolve(), which counts for each new message.
        return QueuedRecipient(
            self.number, self.destination, self.address, self.recipient, self.reverse_path, self.head,
            self.attempts, next, self.history, self.notify, self.orcpt, self.warned,
        )  # fmt: skip
