"""The contracts between the packages, as ``zope.interface`` interfaces, and the values that they pass.

A method that may block on a disk returns a Deferred, which fails with a ``MailserverError``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
)
from zope.interface import Attribute, Interface

from mailserver.errors import StorageError
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Envelope
from mailserver.mail.handling import USUAL, Handling
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
    QueueStarted,
    Refuse,
    Routed,
)
from mailserver.sasl.steps import FetchKeys, FetchSecret, LoginQuestion, ScramKeys


class IReactor(IReactorCore, IReactorTime, IReactorThreads, IReactorTCP, IReactorFDSet):
    """The parts of the reactor that the packages use. Tests pass a reactor with a ``Clock``."""


RouteVerdict = Routed | Moved | Defer | Refuse
SenderVerdict = Accept | Defer | Refuse
VerifyVerdict = Accept | Forwarded | Moved | Defer | Refuse | CannotVerify
ExpandVerdict = Members | Defer | Refuse | CannotVerify


class IRouter(Interface):
    """Knows the domains, accounts, aliases and lists of this server.

    A method answers at once, or with a Deferred if the names are not in memory.
    """

    postmaster: Address = Attribute("the address of the postmaster of this server")

    def route(recipient: Address) -> "RouteVerdict | Deferred[RouteVerdict]":
        """The final mailboxes for mail to ``recipient``, or the reason why it is rejected."""

    def forward_path(reverse_path: Address) -> Address:
        """The reverse-path of mail from ``reverse_path`` that is forwarded to another server. Answers at
        once."""

    def sender(account: Address, reverse_path: ReversePath) -> "SenderVerdict | Deferred[SenderVerdict]":
        """Whether a client that has logged in as ``account`` may send with ``reverse_path``."""

    def verify(name: str) -> "VerifyVerdict | Deferred[VerifyVerdict]":
        """Answer VRFY (RFC 5321 section 3.5) for a local part or an address."""

    def expand(name: str) -> "ExpandVerdict | Deferred[ExpandVerdict]":
        """Answer EXPN (RFC 5321 section 3.5) for the local part or the address of a list."""


class ISendingLimits(Interface):
    """Limits the messages and recipients of a client, an account and a sender domain.

    ``client`` is the key under which a client is counted, "" for a client that is not counted. ``account``
    is "" without a login, ``sender_domain`` is "" for the null reverse-path. Each method returns None if
    the limit is not reached, else a verdict.
    """

    def message(client: str, account: str, sender_domain: str) -> "Defer | None":
        """Count a new message."""

    def recipient(client: str, account: str, sender_domain: str) -> "Defer | None":
        """Count a recipient. Call this before the router: a client that has named too many unknown
        recipients must not learn more names."""

    def probe(client: str) -> "Defer | None":
        """Whether the client may look up another name now. Counts nothing."""

    def recipient_failed(client: str) -> None:
        """Count an unknown name."""


class IQueueStarter(Interface):
    """Starts the delivery of waiting messages."""

    def start_domain(domain: str) -> "Deferred[QueueStarted]":
        """Make the messages for a domain of another server due. Fails with StorageError or ``OSError``."""


class IMailFetcher(Interface):
    """Sends waiting messages by the connection of a server that fetches them (ATRN)."""

    def waiting(domains: "Collection[str]") -> "Deferred[Sequence[str]]":
        """Those of the domains that mail waits for. Fails with ``OSError``."""

    def fetch(domains: "Sequence[str]", to: object, is_over: "Callable[[], bool]") -> "Deferred[None]":
        """Send the mail of the domains by the connection ``to`` the server, until ``is_over``."""


class ISpool(Interface):
    """Accepts responsibility for messages."""

    def receive(envelope: Envelope, trace: bytes) -> "IIncomingMessage":
        """Begin to receive a message. ``trace`` is put before its content."""

    def put(
        message: "QueuedMessage", copies: "Mapping[QueuedRecipient, Delivery]"
    ) -> "Deferred[Collection[QueuedRecipient]]":
        """Put copies of a waiting message into mailboxes, and remove their recipients from the queue in
        the same commit. Fires with the recipients whose mailbox is full, when the copies of the others are
        durable and visible. Fails with :class:`~mailserver.errors.StorageError` or
        :class:`~mailserver.errors.MessageDamaged`; then nothing has changed."""


class IIncomingMessage(Interface):
    """A message while its content arrives. Call exactly one of ``commit`` and ``abandon`` at its end."""

    content: "IContent" = Attribute("the content; read it after the last ``write``")

    def write(data: bytes) -> "Deferred[None] | None":
        """Add content. Returns None, or a Deferred to wait for before the next call. It never fails;
        ``commit`` reports errors."""

    def commit(
        fields: bytes = b"",
        together: "Sequence[Collection[Address]] | None" = None,
        aside: "Address | None" = None,
        changed: "IContent | None" = None,
    ) -> "Deferred[Collection[Address]]":
        """Accept the message; ``fields`` are header fields to put before its trace fields. When this fires
        the message survives a power failure and is visible in all of its mailboxes that are not full, or in
        the mailbox ``aside`` alone. ``changed`` is stored instead of the content, which it reads until then.
        Fails with StorageError; then nothing of the message is left. The mailboxes of a set in ``together``,
        None for one of all, are rejected if all of them are full; other full ones get their copy later. Fires
        with the rejected ones; fails with MailboxFull if these are all."""

    def abandon() -> None:
        """Discard the message."""


class IContent(Interface):
    """The octets of one message. Any thread may read them, any number of times."""

    size: int = Attribute("length in octets")

    def chunks() -> Iterator[bytes]:
        """The octets in order, in pieces of bounded length. Each step may block."""


class IStoredMessage(IContent):
    """A message in a mailbox that is too large to be read at once."""

    def open() -> "IMessageReader":
        """Start to read at the first octet."""


class IMessageReader(Interface):
    """Reads a message once, in pieces of bounded length. An empty piece is the end.

    For one thread at a time. Raises :class:`~mailserver.errors.MessageVanished` and
    :class:`~mailserver.errors.StorageError`, the latter also if the message ends at another length than
    its ``size``.
    """

    def read_nowait() -> "bytes | None":
        """The next piece, or None if :meth:`read` is needed because the read may block."""

    def read() -> bytes:
        """The next piece. May block."""

    def close() -> None:
        """Release the message. May be called more than once."""


@attrs.frozen
class QueuedMessage:
    """A message that waits in the spool for another attempt, without its recipients.

    ``seq`` is its number in the spool. ``received`` is in seconds since the epoch. ``reverse_path`` is ""
    for the null reverse-path. ``octets`` is the size of ``content``. ``ret`` and ``envid`` are the
    parameters of MAIL (RFC 3461 section 4), "" without them; ``handling`` is what the others ask for."""

    seq: int
    id: str
    received: float
    reverse_path: str
    octets: int
    content: IContent = attrs.field(eq=False, repr=False)
    ret: str = ""
    envid: str = ""
    handling: Handling = USUAL


class IDelivery(Interface):
    """One way to deliver messages that wait in the spool."""

    def deliver(
        message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> "Deferred[Mapping[QueuedRecipient, DeliveryOutcome]]":
        """Make one attempt for recipients that have the same destination.

        Fires with the outcome for each of them; one without an outcome is tried again soon, and the attempt
        does not count for it. Fails with :class:`~mailserver.errors.StorageError` if
        this server could not make the attempt; then the attempt does not count. Fails with
        :class:`~mailserver.errors.MessageDamaged` if the content is not what was accepted.
        """


@attrs.frozen
class Delivery:
    """One copy of a message for a mailbox. ``head`` (trace fields) goes before the content."""

    mailbox: Address
    head: bytes


@attrs.frozen
class StoredCopy:
    """One copy of a message, and the mailboxes that have it under the same name. The spool records it.

    ``mailboxes`` and ``name`` are in the form of the store. ``uid`` is the unique-id in all mailboxes.
    ``octets`` and ``checksum`` (CRC-32) cover head and content together. ``source`` is the place where the
    store keeps the copy until it is synced, "" if the spool must keep the content.
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
    """A message that is ready to be published. ``full`` has the deliveries over quota."""

    copies: tuple[StoredCopy, ...]
    full: tuple[Delivery, ...] = ()
    in_transaction: bool = False  # the commit of the spool makes the copies durable and visible


class IMailboxWriter(Interface):
    """Delivers messages to the mailboxes of a store, in the steps that a spool needs.

    All methods may block. One thread calls ``stage``, ``publish`` and ``discard``. One thread, which may be
    another, calls ``sync``, ``forget`` and ``restore``. No method raises ``OSError``.
    """

    def stage(
        batch: Sequence[tuple[IContent, Sequence[Delivery]]],
    ) -> "list[Staged | Exception]":
        """Write each message, for all of its deliveries or for none. Nothing becomes visible, and only
        copies with a ``source`` are synced. Missing mailboxes are created."""

    def publish(copies: Sequence[StoredCopy]) -> "dict[StoredCopy, dict[str, StorageError]]":
        """Make staged copies visible. Returns the errors, by copy and mailbox."""

    def discard(copies: Sequence[StoredCopy]) -> None:
        """Remove staged copies."""

    def sync(copies: Sequence[StoredCopy]) -> "list[StoredCopy]":
        """Make published copies durable. Returns the copies for which that failed; ``restore`` must write
        them again."""

    def forget(copies: Sequence[StoredCopy]) -> None:
        """Remove the sources of synced copies."""

    def restore(
        copy: StoredCopy, content: "IContent | None", *, missing: bool = True, present: bool = True
    ) -> "Restored":
        """Write the copy to the mailboxes where it is ``missing``, and again where it is ``present``.

        Call ``sync`` afterwards. A file with the name of the copy but other octets is set aside. Raises
        :class:`~mailserver.errors.StorageError`, in particular
        :class:`~mailserver.errors.TornMessage`, and :class:`~mailserver.errors.MessageDamaged` if no
        place has the octets of the copy.
        """


@attrs.frozen
class Restored:
    """The result of ``restore``: the number of mailboxes that had the copy, of mailboxes that it was written
    to, and of files set aside because they had its name but other octets."""

    there: int = 0
    written: int = 0
    set_aside: int = 0


class IMaildrops(Interface):
    """Opens maildrops for POP3 sessions."""

    def maildrop(mailbox: Address) -> "Deferred[IMaildrop]":
        """Lock the mailbox for one POP3 session and list its messages.

        Fails with :class:`~mailserver.errors.MaildropInUse` or StorageError."""


class IMailboxStore(IMaildrops):
    """A mailbox store. One store serves all listeners of a server."""

    writer: IMailboxWriter = Attribute("delivers messages while the store is open")

    def open() -> None:
        """Open the store. Called once, before the reactor runs. May block."""

    def close() -> "Deferred[None]":
        """Release all resources. May be called more than once."""

    def browse(mailbox: Address) -> "Deferred[IMailboxView]":
        """List the messages of the mailbox without a lock. Fails with StorageError."""

    def check_move(old: Address, new: Address) -> None:
        """Raise StorageError if a mailbox cannot move to ``new``, such as one with messages. Blocks."""

    def move(old: Address, new: Address) -> None:
        """Move all messages to another mailbox, with their unique-ids. Nobody may use ``old`` meanwhile.
        May be repeated after an interruption. Blocks; raises StorageError."""

    def has_before(mailbox: Address, when: float) -> "Deferred[bool]":
        """Whether a message came before a time, in seconds since the epoch. Fails as ``browse`` does."""

    def has_room(mailbox: Address, octets: int) -> "bool | Deferred[bool]":
        """Whether the quota of the mailbox allows another message of so many octets.

        Returns a Deferred only if the usage must be counted first. It fails with StorageError."""


class IMailboxView(Interface):
    """The messages of a mailbox at one moment. Messages may be removed later."""

    messages: Snapshot = Attribute("oldest first; does not change")

    def read(index: int) -> "Deferred[bytes | IStoredMessage]":
        """The octets of ``messages[index]`` with CRLF line ends, not byte-stuffed.

        Bytes if the message is small, else an object to read piece by piece. Fails with
        :class:`~mailserver.errors.MessageVanished` or :class:`~mailserver.errors.StorageError`."""

    def arrived(index: int) -> "Deferred[float]":
        """When the message came, in seconds since the epoch. Fails as ``read`` does."""


class IMaildrop(IMailboxView):
    """A mailbox that one session has locked, as it was when the session began."""

    def arrived_before(when: float) -> "Deferred[Sequence[int]]":
        """The indexes of messages that came before a time. Fails with StorageError."""

    def remove(indexes: Iterable[int]) -> "Deferred[frozenset[int]]":
        """Remove messages durably. Fires with the indexes that could not be removed. A message that another
        program has removed counts as removed."""

    def release() -> "Deferred[None] | None":
        """Release the lock. May be called more than once. A Deferred fires when other servers see it."""


class IAuthenticator(Interface):
    """Answers the questions of SASL mechanisms about accounts."""

    def log_in(question: LoginQuestion, client: str) -> "Deferred[IMailUser]":
        """Check the credentials. Slow checks of different ``client`` keys are scheduled fairly.

        Fails with ``twisted.cred.error.UnauthorizedLogin``, or with
        :class:`~mailserver.errors.StorageError` if the check is impossible now. The Deferred may be
        cancelled."""

    def keys(question: FetchKeys | FetchSecret, client: str) -> "Deferred[ScramKeys | str | None]":
        """The keys to verify a proof with. The answer does not reveal whether the name exists."""

    def normal(name: str) -> str:
        """The normal form of a user name, whether it exists or not."""

    def admits(user: "IMailUser") -> bool:
        """Whether the account of a user may still log in."""


class IMailUser(Interface):
    """The avatar that the portal returns for an authenticated user."""

    address: Address = Attribute("the account's address")

    def open_maildrop() -> "Deferred[IMaildrop]":
        """Like :meth:`IMaildrops.maildrop`, for the account's own mailbox."""
