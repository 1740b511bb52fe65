"""A recipient that waits in the spool for another attempt."""

import attrs

from mailserver.mail.verdict import Status

LOCAL = "local"
"""The destination of recipients whose mailbox is on this server."""


@attrs.frozen
class FailedAttempt:
    """An attempt that did not deliver: when (seconds since the epoch), and why."""

    when: float
    status: Status
    text: str


@attrs.frozen
class QueuedRecipient:
    """One recipient of a message that waits.

    ``number`` tells the recipients of a message apart. ``destination`` says where the copy goes:
    :data:`LOCAL`, or the name of another way to deliver, which may be followed by a colon and a place.
    ``address`` is the address it is delivered to, ``recipient`` the one that a report names.
    ``reverse_path`` gets the report ("" is nobody). ``head`` (trace fields) stands before the content.

    ``attempts`` have failed so far; ``history`` has the last of them, the newest at the end. The next
    attempt is due at ``next`` (seconds since the epoch). ``notify`` and ``orcpt`` are the parameters of
    RCPT (RFC 3461 section 4) as the client gave them, "" where it gave none.
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

    @property
    def last(self) -> FailedAttempt:
        """The attempt that failed last."""
        return self.history[-1]
