"""The answers of routing and of checks about a client, an address or a message, without any reply code.

``smtp.verdicts`` turns a verdict into a reply. The status is the subject and detail of an
enhanced status code (RFC 3463); its class follows from the kind of verdict. The key names the part of the
configuration that decided, such as ``storage.quota``; it is for the log, and clients never see it.
"""

import attrs

from mailserver.mail.address import Address


@attrs.frozen
class Status:
    """Subject and detail of RFC 3463 section 3: ``Status(1, 1)`` is x.1.1."""

    subject: int
    detail: int


BAD_MAILBOX = Status(1, 1)
MAILBOX_FULL = Status(2, 2)
MAIL_SYSTEM = Status(3, 0)
MAIL_SYSTEM_FULL = Status(3, 1)
ROUTING_LOOP = Status(4, 6)
NOT_AUTHORIZED = Status(7, 1)


@attrs.frozen
class Accept:
    """Yes; ``text`` says to what.

    ``fields`` are header fields for the message, each with its CRLF.
    """

    text: str
    fields: bytes = b""


@attrs.frozen
class Defer:
    """Not now; the client should try again."""

    status: Status
    text: str
    key: str = ""


@attrs.frozen
class Refuse:
    """Never; the client should not try again."""

    status: Status
    text: str
    key: str = ""


@attrs.frozen
class Destination:
    """One final mailbox of a message, and how the message is marked for it.

    ``delivered_to`` is the recipient address that led there. ``bounces_to`` takes the place of the
    message's reverse-path, unless that is the null one: a list gets its own bounces.
    """

    mailbox: Address
    delivered_to: Address
    bounces_to: Address | None = None


@attrs.frozen
class Routed:
    """Yes to a recipient, and the final mailboxes that mail for it goes to.

    ``announced`` is the address to tell the client that the mail goes on to.
    """

    destinations: tuple[Destination, ...]
    announced: Address | None = None


@attrs.frozen
class Forwarded:
    """The name is known, and its mail goes on to ``path`` (RFC 5321 section 3.4)."""

    path: Address


@attrs.frozen
class Moved:
    """The name was here; mail for it is to be sent to ``path`` (RFC 5321 section 3.4)."""

    path: Address


@attrs.frozen
class Members:
    """The members of a list."""

    addresses: tuple[Address, ...]


@attrs.frozen
class CannotVerify:
    """The answer to VRFY and EXPN that commits to nothing (RFC 5321 section 7.3)."""


Verdict = Accept | Routed | Forwarded | Moved | Members | Defer | Refuse | CannotVerify
