"""The filters of a listener as a check of the reception.

Filters are asked in their order, and each sees the header as those before it have changed it. The first one
that rejects, defers or drops decides. Mail by LMTP and by unix sockets is not filtered, because the server
that hands it over has done that. Mail of local programs is not filtered either.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.errors import storage_error
from mailserver.events.base import report
from mailserver.events.filters import HeaderChanged
from mailserver.interfaces import IContent
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Aside, Refuse
from mailserver.policy.milter.commands import MAX_BODY
from mailserver.policy.milter.fields import FilteredField, FilteredHeader, split_header
from mailserver.policy.milter.session import FilterSession, FilterVerdict, MailFilter
from mailserver.reception.changed import ContentWithHeader, chunks_after
from mailserver.reception.checks import (
    ACCEPTED,
    CheckResult,
    CheckVerdict,
    IMessageCheck,
    IRoutedCheck,
    ISenderCheck,
    ISessionCheck,
)
from mailserver.reception.transaction import Client, Recipient, Transaction

KEY = "policy.milter"
MAX_HEADER = 1024 * 1024  # octets of a header that filters are asked about
SMALL = 64 * 1024  # octets of a message that is read in the reactor's thread
PORTION = 8  # pieces of the body that a thread reads at a time

_T = TypeVar("_T")

RunInThread = Callable[..., "Deferred[Any]"]


@implementer(ISenderCheck, IRoutedCheck, IMessageCheck, ISessionCheck)
class MailFilters:
    """Asks mail filters about the messages of all clients, except those with an exempt address."""

    def __init__(
        self, filters: Sequence[MailFilter], is_exempt: Callable[[str], bool], run_in_thread: RunInThread
    ) -> None:
        """``is_exempt`` knows the IP addresses whose mail is not filtered."""
        self._filters = filters
        self._is_exempt = is_exempt
        self._run_in_thread = run_in_thread
        self._sessions: dict[str, _ClientSession] = {}

    def _is_filtered(self, client: Client) -> bool:
        return bool(
            client.session and client.ip and "LMTP" not in client.protocol and not self._is_exempt(client.ip)
        )

    def check_sender(self, transaction: Transaction) -> CheckResult:
        """See :class:`~mailserver.reception.checks.ISenderCheck`."""
        client = transaction.client
        if not self._is_filtered(client):
            return ACCEPTED
        session = self._sessions.get(client.session)
        if session is None:
            session = self._sessions[client.session] = _ClientSession(self._filters, self._run_in_thread)
        return Deferred.fromCoroutine(session.check_sender(transaction))

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRoutedCheck`."""
        session = self._session_of(transaction.client)
        return (
            ACCEPTED
            if session is None
            else Deferred.fromCoroutine(session.check_recipient(transaction, recipient))
        )

    def check_message(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IMessageCheck`."""
        session = self._session_of(transaction.client)
        return (
            ACCEPTED
            if session is None
            else Deferred.fromCoroutine(session.check_message(transaction, content))
        )

    def _session_of(self, client: Client) -> "_ClientSession | None":
        return self._sessions[client.session] if self._is_filtered(client) else None

    def session_ended(self, session: str) -> None:
        """See :class:`~mailserver.reception.checks.ISessionCheck`."""
        ended = self._sessions.pop(session, None)
        if ended is not None:
            ended.end()


class _ClientSession:
    """The filters during one session of a client."""

    def __init__(self, filters: Sequence[MailFilter], run_in_thread: RunInThread) -> None:
        self._filters = [(filter.key, FilterSession(filter)) for filter in filters]
        self._run_in_thread = run_in_thread
        self._is_busy = False
        self._has_ended = False
        # The key of the filter that wants the message to be dropped.
        self._dropped_by = ""

    def end(self) -> None:
        """The client has left. A message that has arrived is still filtered to its end."""
        self._has_ended = True
        if not self._is_busy:
            for _, filter in self._filters:
                filter.close()

    async def check_sender(self, transaction: Transaction) -> CheckVerdict:
        self._dropped_by = ""
        return await self._ask(lambda filter: filter.sender(transaction))

    async def check_recipient(self, transaction: Transaction, recipient: Recipient) -> CheckVerdict:
        return await self._ask(lambda filter: filter.recipient(transaction, recipient))

    async def check_message(self, transaction: Transaction, content: IContent) -> CheckVerdict:
        try:
            parts = await self._read(content, split_message, content)
        except ValueError as error:
            return Refuse(NOT_AUTHORIZED, str(error), KEY)
        header = FilteredHeader(parts.fields)

        async def body() -> AsyncIterator[bytes]:
            pieces = body_pieces(content, parts.body)
            while portion := await self._read(content, take, pieces):
                for piece in portion:
                    yield piece

        verdict = await self._ask(lambda filter: filter.message(transaction, header, body))
        if not isinstance(verdict, Accept):
            return verdict
        if self._dropped_by:
            return Accept("Ok", dropped_by=self._dropped_by)
        accepted = _accepted(transaction, header, content, parts)
        return accepted if verdict is ACCEPTED else accepted.and_also(verdict)

    async def _ask(self, step: Callable[[FilterSession], Awaitable[FilterVerdict]]) -> CheckVerdict:
        """Ask the filters in their order."""
        self._is_busy = True
        try:
            accepted = ACCEPTED
            for key, filter in self._filters:
                if self._dropped_by:
                    break
                verdict = await step(filter)
                if verdict is not None:
                    return verdict
                if filter.is_dropped:
                    self._dropped_by = key
                if filter.quarantine:
                    accepted = accepted.and_also(Accept("Ok", aside=Aside(filter.quarantine, key)))
            return accepted
        finally:
            self._is_busy = False
            if self._has_ended:
                self.end()

    async def _read(self, content: IContent, function: Callable[..., _T], *arguments: object) -> _T:
        """Call a function that reads a message, in a thread if the message may be in a file."""
        if content.size <= SMALL:
            return function(*arguments)
        try:
            result: _T = await self._run_in_thread(function, *arguments)
        except OSError as error:
            raise storage_error(error) from error
        return result


@attrs.frozen
class MessageParts:
    """The ``fields`` of a message, the octets that they take (``header``), and where the ``body`` begins."""

    fields: Sequence[FilteredField]
    header: int
    body: int


def split_message(content: IContent) -> MessageParts:
    """The parts of a message. Raises :class:`ValueError` if its header is too large. May block."""
    pieces: list[bytes] = []
    octets, end = 0, b""
    for chunk in content.chunks():
        pieces.append(chunk)
        octets += len(chunk)
        if b"\r\n\r\n" in end + chunk or pieces[0].startswith(b"\r\n") or octets > MAX_HEADER:
            break
        end = (end + chunk)[-3:]
    beginning = b"".join(pieces)[:MAX_HEADER]
    fields, header = split_header(beginning)
    if header == MAX_HEADER:
        raise ValueError(f"the header is larger than {MAX_HEADER} octets")
    return MessageParts(fields, header, header + 2 * beginning.startswith(b"\r\n", header))


def take(pieces: Iterator[bytes]) -> Sequence[bytes]:
    """The next :data:`PORTION` pieces. May block."""
    return list(islice(pieces, PORTION))


def body_pieces(content: IContent, start: int) -> Iterator[bytes]:
    """The body in pieces of :data:`MAX_BODY` octets; the last one may be shorter. Each step may block."""
    held = bytearray()
    for chunk in chunks_after(content, start):
        held += chunk
        while len(held) >= MAX_BODY:
            yield bytes(held[:MAX_BODY])
            del held[:MAX_BODY]
    if held:
        yield bytes(held)


def _accepted(
    transaction: Transaction, header: FilteredHeader, content: IContent, parts: MessageParts
) -> Accept:
    names = header.changed_names()
    if not names:
        return ACCEPTED
    client = transaction.client
    report(HeaderChanged(id=transaction.id, session=client.session, names=", ".join(names), rule=KEY))
    if not header.is_changed_below:
        return Accept("Ok", header.above)
    # Without a field, the blank line keeps the text apart from the trace fields.
    below = header.below or (b"" if parts.body > parts.header else b"\r\n")
    return Accept("Ok", header.above, changed=ContentWithHeader(below, content, parts.header))
