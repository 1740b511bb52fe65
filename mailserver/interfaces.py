"""Every contract between rooms, and nothing else.

Engines implement these; ``service`` joins them. Where a method may block on a disk it returns a
Deferred, and fails with a :class:`mailserver.errors.MailserverError`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorThreads, IReactorTime
from zope.interface import Attribute, Interface

from mailserver.errors import StorageError
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Envelope
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import QueuedRecipient
from mailserver.mail.snapshot import Snapshot
from mailserver.mail.verdict import (
    Accept,
    CannotVerify,
    Defer,
    Forwarded,
    Members,
    Moved,
    Refuse,
    Routed,
)
from mailserver.sasl.steps import FetchKeys, FetchSecret, LoginQuestion, ScramKeys


class IReactor(IReactorCore, IReactorTime, IReactorThreads):
    """What of the reactor the rooms use; a test gives them one with a clock of its own."""


RouteVerdict = Routed | Moved | Defer | Refuse
SenderVerdict = Accept | Defer | Refuse
VerifyVerdict = Accept | Forwarded | Moved | Defer | Refuse | CannotVerify
ExpandVerdict = Members | Defer | Refuse | CannotVerify


class IRouter(Interface):
    """Knows the domains, accounts, aliases and lists of this server.

    Each answer is there at once, or is a Deferred if the names are not in memory.
    """

    def route(recipient: Address) -> "RouteVerdict | Deferred[RouteVerdict]":
        """Where mail for ``recipient`` goes: final mailboxes, or why it goes nowhere."""

    def sender(account: Address, reverse_path: ReversePath) -> "SenderVerdict | Deferred[SenderVerdict]":
        """Whether somebody who has logged in as ``account`` may send under ``reverse_path``."""

    def verify(name: str) -> "VerifyVerdict | Deferred[VerifyVerdict]":
        """Answer VRFY (RFC 5321 section 3.5) for a local part or an address."""

    def expand(name: str) -> "ExpandVerdict | Deferred[ExpandVerdict]":
        """Answer EXPN (RFC 5321 section 3.5) for the local part or the address of a list."""


class ISendingLimits(Interface):
    """Limits how many messages and recipients a client, an account and a sender domain may have.

    ``client`` is the key that a client is counted by, "" for one that is not counted; ``account`` is ""
    without a login, ``sender_domain`` for the null reverse-path. An answer is None, or the verdict.
    """

    def message(client: str, account: str, sender_domain: str) -> "Defer | None":
        """Count a message that begins, or say why it is one too many."""

    def recipient(client: str, account: str, sender_domain: str) -> "Defer | None":
        """Count a recipient, or say why it is one too many. To be asked before the router: a client that
        has named too many unknown recipients must not learn more names."""

    def probe(client: str) -> "Defer | None":
        """Why the client may not ask for another name now. Counts nothing."""

    def recipient_failed(client: str) -> None:
        """Count a name that does not exist."""


class ISpool(Interface):
    """Takes the responsibility for messages."""

    def receive(envelope: Envelope, trace: bytes) -> "IIncomingMessage":
        """Begin to take a message in; ``trace`` is put in front of its content."""

    def put(
        message: "QueuedMessage", copies: "Mapping[QueuedRecipient, Delivery]"
    ) -> "Deferred[Collection[QueuedRecipient]]":
        """Put copies of a message that waits into mailboxes, and take their recipients off the queue in
        the same commit. Fires with the recipients whose mailbox is full, when the copies of the others are
        durable and visible. Fails with :class:`~mailserver.errors.StorageError` or
        :class:`~mailserver.errors.MessageDamaged`, and then has changed nothing."""


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
    """The octets of one message. Any thread may read them, any number of times."""

    size: int = Attribute("length in octets")

    def chunks() -> Iterator[bytes]:
        """The octets in order, in pieces of bounded length. Each step may block."""


class IStoredMessage(IContent):
    """A message in a mailbox that is too large to be read at once."""

    def open() -> "IMessageReader":
        """Begin to read it from its first octet."""


class IMessageReader(Interface):
    """Reads a message once, in pieces of bounded length; an empty piece is the end.

    One thread at a time. Raises :class:`~mailserver.errors.MessageVanished` and
    :class:`~mailserver.errors.StorageError`; the latter also at the end of a message that does not have
    its ``size``.
    """

    def read_nowait() -> "bytes | None":
        """The next piece, or None if only :meth:`read` can get it."""

    def read() -> bytes:
        """The next piece. May block."""

    def close() -> None:
        """Let go of the message. May be called more than once."""


@attrs.frozen
class QueuedMessage:
    """A message that waits in the spool for another attempt, without its recipients.

    ``seq`` is its number there, ``received`` is in seconds since the epoch, ``reverse_path`` is ""
    for the null one, ``octets`` are those of ``content``. ``ret`` and ``envid`` are the parameters of MAIL
    (RFC 3461 section 4) as the client gave them, "" where it gave none.
    """

    seq: int
    id: str
    received: float
    reverse_path: str
    octets: int
    content: IContent = attrs.field(eq=False, repr=False)
    ret: str = ""
    envid: str = ""


class IDelivery(Interface):
    """One way to deliver messages that wait in the spool."""

    def deliver(
        message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> "Deferred[Mapping[QueuedRecipient, DeliveryOutcome]]":
        """Make one attempt for recipients that have the same destination.

        Fires with the outcome for each of them. A failure with
        :class:`~mailserver.errors.StorageError` says that the attempt could not be made, for a reason of
        this server: it does not count. :class:`~mailserver.errors.MessageDamaged` says that the content
        is not what was taken in.
        """


@attrs.frozen
class Delivery:
    """One copy of a message for a mailbox: ``head`` (trace fields) stands before the content."""

    mailbox: Address
    head: bytes


@attrs.frozen
class StoredCopy:
    """One copy of a message, and the mailboxes that have it under one name. The spool remembers it.

    ``mailboxes`` and ``name`` are in the form of the store; ``uid`` is the unique-id in all mailboxes.
    ``octets`` and ``checksum`` (CRC-32) are those of head and content together. ``source`` is the place
    where the store keeps the copy until it is synced; "" if the spool has to keep the content.
    """

    name: str
    uid: str
    mailboxes: tuple[str, ...]
    head: bytes
    octets: int
    checksum: int
    source: str = ""


@attrs.frozen
class Staged:
    """A message that is ready to be published. ``full`` are deliveries over quota."""

    copies: tuple[StoredCopy, ...]
    full: tuple[Delivery, ...] = ()


class IMailboxWriter(Interface):
    """Delivers messages to the mailboxes of a store, in the steps that a spool needs.

    All methods may block. ``stage``, ``publish`` and ``discard`` are for one thread; ``sync``, ``forget``
    and ``restore`` are for one thread, which may be another. No method raises ``OSError``.
    """

    def stage(
        batch: Sequence[tuple[IContent, Sequence[Delivery]]],
    ) -> "list[Staged | Exception]":
        """Write each message, for all of its deliveries or none. Nothing is visible yet, and only copies
        with a ``source`` are synced. Missing mailboxes are made."""

    def publish(copies: Sequence[StoredCopy]) -> "dict[StoredCopy, dict[str, StorageError]]":
        """Make staged copies visible. Returns the errors, by copy and mailbox."""

    def discard(copies: Sequence[StoredCopy]) -> None:
        """Remove staged copies."""

    def sync(copies: Sequence[StoredCopy]) -> "list[StoredCopy]":
        """Make published copies durable. Returns those that may not be; they must be written anew."""

    def forget(copies: Sequence[StoredCopy]) -> None:
        """Remove the sources of copies that are synced and not needed any more."""

    def restore(
        copy: StoredCopy, content: "IContent | None", *, missing: bool = True, present: bool = True
    ) -> "Restored":
        """Write the copy to the mailboxes where it is ``missing``, and anew where it is ``present``.

        ``sync`` has to follow. A file with the name of the copy but other octets is set aside. Raises
        :class:`~mailserver.errors.StorageError`, in particular
        :class:`~mailserver.errors.TornMessage`, and :class:`~mailserver.errors.MessageDamaged` if the
        octets of the copy are nowhere.
        """


@attrs.frozen
class Restored:
    """The result of ``restore``: how many mailboxes had the copy, how many it was written to, and how many
    files with its name but other octets were set aside."""

    there: int = 0
    written: int = 0
    set_aside: int = 0


@attrs.frozen
class Quota:
    """The most that a mailbox may hold, in octets and in messages; 0 is no limit."""

    octets: int = 0
    messages: int = 0

    def admits(self, messages: int, octets: int, more: int) -> bool:
        """Whether one more message, of ``more`` octets, fits."""
        return not (
            (self.octets and octets + more > self.octets) or (self.messages and messages >= self.messages)
        )


class IMaildrops(Interface):
    """Opens maildrops for POP3 sessions."""

    def maildrop(mailbox: Address) -> "Deferred[IMaildrop]":
        """Lock the mailbox for one POP3 session, and list its messages.

        Fails with :class:`~mailserver.errors.MaildropInUse` or
        :class:`~mailserver.errors.StorageError`.
        """


class IMailboxStore(IMaildrops):
    """A mailbox store. One store serves all listeners of a server."""

    writer: IMailboxWriter = Attribute("delivers messages while the store is open")

    def open() -> None:
        """Make ready; called once, before the reactor runs. May block."""

    def close() -> "Deferred[None]":
        """Release all resources. May be called more than once."""

    def browse(mailbox: Address) -> "Deferred[IMailboxView]":
        """List the messages of the mailbox, without a lock.

        Fails with :class:`~mailserver.errors.StorageError`.
        """

    def has_room(mailbox: Address) -> "bool | Deferred[bool]":
        """Whether the mailbox may get another message, by its quota.

        A Deferred only if the mailbox must be counted first. It fails with
        :class:`~mailserver.errors.StorageError`.
        """


class IMailboxView(Interface):
    """A mailbox as it was at one moment. Messages may be removed later."""

    messages: Snapshot = Attribute("oldest first; it does not change")

    def read(index: int) -> "Deferred[bytes | IStoredMessage]":
        """The octets of ``messages[index]``, CRLF line ends, not byte-stuffed.

        Bytes if the message is small, else something to read piece by piece. Fails with
        :class:`~mailserver.errors.MessageVanished` or :class:`~mailserver.errors.StorageError`.
        """


class IMaildrop(IMailboxView):
    """A mailbox under the exclusive lock of one session, as it was when the session began."""

    def remove(indexes: Iterable[int]) -> "Deferred[frozenset[int]]":
        """Remove messages, durably. Fires with those that could not be removed. A message that is already
        gone counts as removed."""

    def release() -> None:
        """Release the lock. May be called more than once."""


class IAuthenticator(Interface):
    """Answers what SASL mechanisms ask of the accounts."""

    def log_in(question: LoginQuestion, client: str) -> "Deferred[IMailUser]":
        """Let somebody in. ``client`` takes turns with other clients where it takes time.

        Fails with ``twisted.cred.error.UnauthorizedLogin``, and with
        :class:`~mailserver.errors.StorageError` if that cannot be told for now. It may be cancelled."""

    def keys(question: FetchKeys | FetchSecret, client: str) -> "Deferred[ScramKeys | str | None]":
        """What a proof is checked with. It tells nobody whether the name is known."""

    def normal(name: str) -> str:
        """One form of all the ways to write a name, known or not."""


class IMailUser(Interface):
    """The avatar that the portal gives to somebody who has logged in."""

    address: Address = Attribute("the account's address")

    def open_maildrop() -> "Deferred[IMaildrop]":
        """As :meth:`IMailboxStore.maildrop` for the account's own mailbox."""
