"""Every contract between rooms, and nothing else.

Engines implement these; ``service`` joins them. Where a method may block on a disk it returns a
Deferred, and fails with a :class:`mailserver.errors.MailserverError`.
"""

from collections.abc import Iterable, Iterator, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorThreads, IReactorTime
from zope.interface import Attribute, Interface

from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.verdict import (
    Accept,
    Defer,
    Forwarded,
    Members,
    Moved,
    Refuse,
    Routed,
    WillNotTell,
)


class IReactor(IReactorCore, IReactorTime, IReactorThreads):
    """What of the reactor the rooms use; a test gives them one with a clock of its own."""


class IRouter(Interface):
    """Knows the domains, accounts, aliases and lists of this server."""

    def route(recipient: Address) -> "Deferred[Routed | Moved | Defer | Refuse]":
        """Where mail for ``recipient`` goes: final mailboxes, or why it goes nowhere."""

    def verify(name: str) -> "Deferred[Accept | Forwarded | Moved | Refuse | WillNotTell]":
        """Answer VRFY (RFC 5321 section 3.5) for a local part or an address."""

    def expand(name: str) -> "Deferred[Members | Refuse | WillNotTell]":
        """Answer EXPN (RFC 5321 section 3.5) for the local part or the address of a list."""


class ISpool(Interface):
    """Takes the responsibility for messages."""

    def receive(envelope: Envelope, trace: bytes) -> "IIncomingMessage":
        """Begin to take a message in; ``trace`` is put in front of its content."""


class IIncomingMessage(Interface):
    """A message while its content arrives. Ends with exactly one of ``commit`` and ``abandon``."""

    def write(data: bytes) -> "Deferred[None] | None":
        """Add content. None, or a Deferred to wait for before the next call.

        It never fails: what goes wrong is told by ``commit``.
        """

    def commit() -> "Deferred[None]":
        """Take the message. When this fires the message survives power loss and is visible in
        every mailbox it goes to. Fails with :class:`~mailserver.errors.StorageError`, and then
        has left no trace."""

    def abandon() -> None:
        """Forget the message."""


class IContent(Interface):
    """The octets of one message, to be read from any thread, any number of times."""

    size: int = Attribute("length in octets")

    def chunks() -> Iterator[bytes]:
        """The octets in order, in pieces of bounded length.

        An empty piece says that the next may have to be waited for: who must not block asks for
        it in a thread.
        """


@attrs.frozen
class Delivery:
    """One copy of a message for a mailbox: ``head`` (trace fields) stands before the content."""

    mailbox: Address
    head: bytes


class IMailboxStore(Interface):
    """Keeps the mailboxes. One engine serves all listeners of a server."""

    def open() -> None:
        """Make ready; called once, before the reactor runs. May block."""

    def close() -> "Deferred[None]":
        """Finish what was begun and let go of everything."""

    def deliver(content: IContent, deliveries: Sequence[Delivery]) -> "Deferred[None]":
        """Put a copy into each mailbox, all or none, durable and visible when this fires.

        Mailboxes are created as needed. Fails with :class:`~mailserver.errors.StorageError`.
        """

    def maildrop(mailbox: Address) -> "Deferred[IMaildrop]":
        """Lock the mailbox for one POP3 session and take its snapshot.

        Fails with :class:`~mailserver.errors.MaildropInUse` or
        :class:`~mailserver.errors.StorageError`.
        """


@attrs.frozen
class MessageInfo:
    """A message of a maildrop: its unique-id (RFC 1939 section 7) and its size in octets as sent."""

    uid: str
    size: int


class IMaildrop(Interface):
    """A mailbox under the exclusive lock of one session, as it was when the session began."""

    messages: Sequence[MessageInfo] = Attribute("the snapshot, oldest first; it does not change")

    def read(index: int) -> "Deferred[bytes | IContent]":
        """The octets of ``messages[index]``, CRLF line ends, not byte-stuffed.

        Bytes if the message is small, else something to read piece by piece. Fails with
        :class:`~mailserver.errors.MessageVanished` or :class:`~mailserver.errors.StorageError`.
        """

    def remove(indexes: Iterable[int]) -> "Deferred[frozenset[int]]":
        """Remove messages for good. Fires with those that could not be removed; one that is
        already gone counts as removed."""

    def release() -> None:
        """Give the lock back. May be called more than once."""


class IMailUser(Interface):
    """The avatar that the portal gives to somebody who has logged in."""

    address: Address = Attribute("the account's address")

    def open_maildrop() -> "Deferred[IMaildrop]":
        """As :meth:`IMailboxStore.maildrop` for the account's own mailbox."""
