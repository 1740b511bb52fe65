"""Reads messages of mailboxes for the API, in pieces: neither a large mailbox nor a large message stops the
reactor.

The id of a message is that of its mailbox and its unique-id there, as one word. It stays the same as long as
the message is in this mailbox.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailserver.errors import AddressError, MessageVanished, StorageError
from mailserver.http.exchange import HTTPProblem
from mailserver.interfaces import IMailboxStore, IMailboxView, IReactor, IStoredMessage
from mailserver.mail.address import Address
from mailserver.mail.snapshot import Snapshot
from mailserver.threads.pool import Threads, run_in_thread
from mailserver.web.search import MessageQuery
from mailserver.web.summary import HEAD, MessageSummary

SLICE = 0.002  # seconds of reading in the reactor's thread, and
AT_ONCE = 100  # messages, until a thread looks at them
BUDGET = 0.7  # seconds of one search; the next request goes on
MANY = 2000  # messages in a mailbox, until looking for a unique-id needs a thread


@attrs.frozen
class MessageId:
    """A message: its mailbox and its unique-id there."""

    mailbox: Address
    uid: str

    def __str__(self) -> str:
        return word(f"{self.mailbox}/{self.uid}")

    @classmethod
    def read(cls, text: str) -> "MessageId":
        """Raises HTTPProblem, 404."""
        try:
            mailbox, _, uid = from_word(text).rpartition("/")
            return cls(Address.parse(mailbox, any_dots=True), uid)
        except (ValueError, AddressError):
            raise no_such(text) from None


def word(text: str) -> str:
    """The text as one word for a URL."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_word(text: str) -> str:
    """The text of a word. Raises ValueError."""
    try:
        found = base64.b64decode(f"{text}{'=' * (-len(text) % 4)}".encode("ascii"), b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not a word") from None
    if word(found.decode()) != text:
        raise ValueError("not a word")
    return found.decode()


def no_such(text: str) -> HTTPProblem:
    """The problem of an unknown id."""
    return HTTPProblem(404, f'There is no message "{text}".')


@attrs.frozen
class FoundMessage:
    """A message of a list. ``arrived`` is in seconds since the epoch."""

    id: MessageId
    index: int
    octets: int
    arrived: float
    summary: MessageSummary


@attrs.frozen
class MessagePage:
    """A part of a list: the newest messages first. ``following``: where the next part begins, "" at the end.
    ``total`` is the number of messages in the mailbox."""

    messages: Sequence[FoundMessage]
    following: str
    total: int


class MailboxReader:
    """Reads messages. For the reactor's thread. The methods raise StorageError."""

    def __init__(self, store: IMailboxStore, reactor: IReactor, threads: Threads) -> None:
        self._store = store
        self._reactor = reactor
        self._threads = threads

    def browse(self, mailbox: Address) -> "Deferred[IMailboxView]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.browse`."""
        view: Deferred[IMailboxView] = self._store.browse(mailbox)
        return view

    async def page(
        self,
        mailbox: Address,
        query: MessageQuery,
        begin: str,
        most: int,
        known: Collection[str] = (),
    ) -> MessagePage:
        """The messages that match, from the place ``begin`` on, which is "" or that of the last page.

        The list ends at a message whose unique-id is ``known``."""
        view: IMailboxView = await self._store.browse(mailbox)
        first = len(view.messages) - 1 if not begin else await self._place(view.messages, begin)
        found: list[FoundMessage] = []
        deadline = self._reactor.seconds() + BUDGET
        index = first
        while index >= 0 and len(found) < most:
            index, matching = await self._look(mailbox, view, index, query, most - len(found), known)
            found += matching
            if self._reactor.seconds() >= deadline:
                break
        following = ""
        if index >= 0:
            following = word(f"{index}/{view.messages.uid(index)}")
        return MessagePage(found, following, len(view.messages))

    async def _place(self, messages: Snapshot, begin: str) -> int:
        """The index of the message that a page begins with. If it is gone, the one before it."""
        try:
            number, _, uid = from_word(begin).partition("/")
            index = int(number)
        except ValueError:
            raise HTTPProblem(422, 'The query: "cursor": expected the value "next" of an answer') from None
        if 0 <= index < len(messages) and messages.uid(index) == uid:
            return index
        found = await self.index(messages, uid)
        return min(index, len(messages) - 1) if found is None else found

    async def index(self, messages: Snapshot, uid: str) -> int | None:
        """The index of a message by its unique-id."""
        if len(messages) < MANY:
            return _index(messages, uid)
        return await self._threads.run(_index, messages, uid)

    async def _look(
        self,
        mailbox: Address,
        view: IMailboxView,
        index: int,
        query: MessageQuery,
        most: int,
        known: Collection[str],
    ) -> tuple[int, list[FoundMessage]]:
        """Look at some messages from an index on downwards. Returns the next index, and those that match."""
        read: list[tuple[int, bytes]] = []
        end = self._reactor.seconds() + SLICE
        while index >= 0 and len(read) < AT_ONCE and (not read or self._reactor.seconds() < end):
            if query.is_empty and len(read) == most:
                break
            if known and view.messages.uid(index) in known:
                index = -1
                break
            octets = await self._read(view, index, whole=query.needs_whole)
            if octets is not None:
                read.append((index, octets))
            index -= 1
        matching = await self._threads.run(_matching, read, query)
        found: list[FoundMessage] = []
        for number, summary in matching:
            if len(found) == most:
                return number, found
            try:
                arrived: float = await view.arrived(number)
            except MessageVanished:
                continue
            info = view.messages[number]
            found.append(FoundMessage(MessageId(mailbox, info.uid), number, info.size, arrived, summary))
        return index, found

    async def _read(self, view: IMailboxView, index: int, *, whole: bool) -> bytes | None:
        """The beginning of a message, or all of it; None if it is gone or unreadable."""
        try:
            content: bytes | IStoredMessage = await view.read(index)
            if isinstance(content, bytes):
                return content
            return await run_in_thread(self._reactor, _joined, content, None if whole else HEAD)
        except StorageError:
            return None

    # ------------------------------------------------------------ one message

    async def find(self, id: MessageId) -> tuple[IMailboxView, int]:
        """A message by its id. Raises HTTPProblem, 404."""
        view: IMailboxView = await self._store.browse(id.mailbox)
        index = await self.index(view.messages, id.uid)
        if index is None:
            raise no_such(str(id))
        return view, index

    async def content(self, id: MessageId) -> bytes | IStoredMessage:
        """The octets of a message. Raises HTTPProblem, 404."""
        view, index = await self.find(id)
        try:
            content: bytes | IStoredMessage = await view.read(index)
        except MessageVanished:
            raise no_such(str(id)) from None
        return content

    async def whole(self, id: MessageId) -> tuple[FoundMessage, bytes]:
        """A message with all its octets."""
        view, index = await self.find(id)
        try:
            content: bytes | IStoredMessage = await view.read(index)
            arrived: float = await view.arrived(index)
            if not isinstance(content, bytes):
                content = await self._threads.run_long(_joined, content, None)
        except MessageVanished:
            raise no_such(str(id)) from None
        summary = MessageSummary.of(content)
        return FoundMessage(id, index, view.messages.size(index), arrived, summary), content

    async def pieces(self, content: IStoredMessage) -> AsyncIterator[bytes]:
        """The octets of a large message."""
        reader: Any = content.open()
        try:
            while piece := reader.read_nowait() or await run_in_thread(self._reactor, reader.read):
                yield piece
        finally:
            reader.close()


def _index(messages: Snapshot, uid: str) -> int | None:
    try:
        return messages.uids(0, len(messages)).index(uid)
    except ValueError:
        return None


def _joined(content: IStoredMessage, most: int | None) -> bytes:
    """The octets of a message, at least ``most`` of them. Blocks."""
    found: list[bytes] = []
    octets = 0
    chunks: Iterable[bytes] = content.chunks()
    for chunk in chunks:
        found.append(chunk)
        octets += len(chunk)
        if most is not None and octets >= most:
            break
    return b"".join(found)


def _matching(read: Sequence[tuple[int, bytes]], query: MessageQuery) -> list[tuple[int, MessageSummary]]:
    found = []
    for index, octets in read:
        summary = MessageSummary.of(octets)
        if query.is_empty or query.matches(summary, octets):
            found.append((index, summary))
    return found
