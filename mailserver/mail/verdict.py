"""Verdicts of routing and of checks about a client, an address or a message, without reply codes.

``smtp.verdicts`` turns a verdict into a reply. The status is the subject and detail of an enhanced status
code (RFC 3463); the kind of verdict gives its class. The key is the configuration key that decided, such as
``storage.quota``. It is for the log; clients never see it. Only a mail filter chooses the ``code`` of the
reply itself; 0 is the usual one for the status.
"""

from typing import Any

import attrs

from mailserver.mail.address import Address


@attrs.frozen
class Status:
    """Subject and detail of RFC 3463 section 3: ``Status(1, 1)`` is x.1.1."""

    subject: int
    detail: int


BAD_MAILBOX = Status(1, 1)
NULL_MX = Status(1, 10)
MAILBOX_FULL = Status(2, 2)
MAIL_SYSTEM = Status(3, 0)
MAIL_SYSTEM_FULL = Status(3, 1)
DIRECTORY_FAILED = Status(4, 3)  # DNS, here (RFC 7208 section 8.6)
ROUTING_LOOP = Status(4, 6)
INVALID_ARGUMENTS = Status(5, 4)
# RFC 3463 section 3.8: x.7.0 is about the connection as a whole, x.7.1 about one message or recipient.
POLICY = Status(7, 0)
NOT_AUTHORIZED = Status(7, 1)
# RFC 7372 sections 3.2 and 3.4.
SPF_FAILED = Status(7, 23)
AUTHENTICATION_FAILED = Status(7, 26)


@attrs.frozen
class Aside:
    """Why a message goes to the quarantine, and the deciding key."""

    reason: str
    key: str


@attrs.frozen
class Accept:
    """Accepted. ``text`` is for the reply.

    ``fields`` has header fields to add to the message, each with its CRLF. With ``aside``, the message goes
    to the quarantine in place of its recipients. ``changed`` is the message with another header, an
    :class:`~mailserver.interfaces.IContent` to be stored instead; None if nothing is changed. ``dropped_by``
    is the key of a check that wants the message to be dropped, though the client is told that it is accepted;
    "" if it is kept. Only checks of a whole message may ask for these three.
    """

    text: str
    fields: bytes = b""
    aside: Aside | None = None
    changed: Any = None
    dropped_by: str = ""

    def and_also(self, other: "Accept") -> "Accept":
        """Both verdicts about one subject; ``other`` is the later one. The first reason to keep it aside
        counts, and the last change."""
        return Accept(
            self.text,
            self.fields + other.fields,
            self.aside or other.aside,
            self.changed if other.changed is None else other.changed,
            self.dropped_by or other.dropped_by,
        )


@attrs.frozen
class Defer:
    """Temporarily rejected; the client should try again. ``text`` may have several lines."""

    status: Status
    text: str
    key: str = ""
    code: int = 0


@attrs.frozen
class Refuse:
    """Permanently rejected; the client should not try again. ``text`` may have several lines."""

    status: Status
    text: str
    key: str = ""
    code: int = 0


@attrs.frozen
class Destination:
    """One final mailbox of a message; with ``remote``, on another server.

    ``delivered_to`` is the recipient address that led to it. ``bounces_to`` replaces the reverse-path of the
    message, unless that is the null reverse-path, so that bounces go to the owner of a list.
    """

    mailbox: Address
    delivered_to: Address
    bounces_to: Address | None = None
    remote: bool = False

    @property
    def is_forwarded(self) -> bool:
        """Whether the recipient is a name here whose mail goes on to another server."""
        return self.remote and self.mailbox != self.delivered_to


@attrs.frozen
class Routed:
    """A known recipient, with the final mailboxes of its mail.

    ``announced`` is the forwarding address that the reply names to the client. ``relayed``: the recipient is
    in a domain of another server, so the client needs the permission to relay. ``bounces_only``: the
    recipient is a rewritten reverse-path, which leads to the original sender. It takes only mail with the
    null reverse-path.
    """

    destinations: tuple[Destination, ...]
    announced: Address | None = None
    relayed: bool = False
    bounces_only: bool = False


@attrs.frozen
class Forwarded:
    """The name is known, and its mail is forwarded to ``path`` (RFC 5321 section 3.4)."""

    path: Address


@attrs.frozen
class Moved:
    """The user has moved. Clients should send their mail to ``path`` (RFC 5321 section 3.4)."""

    path: Address


@attrs.frozen
class Members:
    """The members of a list."""

    addresses: tuple[Address, ...]


@attrs.frozen
class CannotVerify:
    """The noncommittal answer to VRFY and EXPN (RFC 5321 section 7.3)."""


@attrs.frozen
class QueueStarted:
    """The messages that wait for a domain are tried now: their number. ``more``: there are others, too."""

    messages: int
    more: bool = False


@attrs.frozen
class MailWaits:
    """Mail waits for these domains, and the client may fetch it (ATRN)."""

    domains: tuple[str, ...]


Verdict = Accept | Routed | Forwarded | Moved | Members | Defer | Refuse | CannotVerify
