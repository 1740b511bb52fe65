"""One filter during one session of a client: the order of commands, and what the replies mean.

A reply to the connection or to HELO counts for the whole session, one to RCPT for that recipient, any other
one for the message. A connection lasts from the first MAIL until the client leaves. The filter is connected
again if it has closed the connection between messages, or if the client is another one (XCLIENT).
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred

from mailserver.errors import FilterFailed
from mailserver.events.base import report
from mailserver.events.filters import FilterUnusable
from mailserver.mail.address import format_path
from mailserver.mail.verdict import NOT_AUTHORIZED, Defer, Refuse, Status
from mailserver.policy.milter import commands
from mailserver.policy.milter.fields import FilteredHeader
from mailserver.policy.milter.options import OFFERED_ACTIONS, FilterOptions, FilterStep, offer, read_options
from mailserver.policy.milter.packets import Packet, PacketReader, packet
from mailserver.policy.milter.replies import (
    FieldChange,
    FilterAnswer,
    FilterReply,
    FilterReplyText,
    KeepAside,
    read_reply,
)
from mailserver.reception.transaction import Client, Recipient, Transaction

MAX_CHANGES = 1000  # of the header, by one filter to one message
LONGEST = 300.0  # seconds for one reply, however much progress a filter reports

FilterVerdict = Defer | Refuse | None


class FilterConnection(Protocol):
    """A connection to a filter, as a stream of octets. ``is_open``: both sides may still send."""

    is_open: bool

    def write(self, data: bytes) -> "Deferred[None] | None":
        """Send octets. Returns None, or a Deferred to wait for before the next call. Fails with ``OSError``
        if the filter does not take them in time."""

    def read(self) -> "Deferred[bytes]":
        """The next octets. Fails with ``OSError`` if none come in time, or the connection is lost."""

    def close(self) -> None:
        """Close the connection when all octets are sent. May be called more than once."""


@attrs.frozen
class MailFilter:
    """A filter of the configuration.

    ``key`` is its configuration key. ``connect`` makes a :class:`FilterConnection`; it fails with
    ``OSError``. ``failed`` is the verdict if the filter cannot be asked; None accepts. ``macros`` are those
    of every connection. ``seconds`` is the time of the reactor's clock.
    """

    key: str
    connect: Callable[[], Deferred[Any]]
    failed: FilterVerdict
    macros: commands.Macros
    seconds: Callable[[], float]


class FilterSession:
    """Asks one filter about the messages of one client. Calls must not overlap.

    ``is_dropped``: the filter has accepted the message, and wants it to be dropped. ``quarantine`` is its
    reason to keep the message aside, "" without one.
    """

    def __init__(self, filter: MailFilter) -> None:
        self._filter = filter
        self.is_dropped = False
        self.quarantine = ""
        self._stream: FilterConnection | None = None
        self._reader = PacketReader()
        self._packets: list[Packet] = []
        self._options = FilterOptions(0, OFFERED_ACTIONS, FilterStep(0))
        self._client = Client()
        self._greeted = False
        # The filter is not asked again in this session, and this is its verdict.
        self._decided = False
        self._verdict: FilterVerdict = None
        # The same for the message.
        self._is_done = True
        self._failure: FilterVerdict = None
        # MAIL was sent, and the message has not ended for the filter.
        self._has_message = False

    # ------------------------------------------------------------ the stages

    async def sender(self, transaction: Transaction) -> FilterVerdict:
        """MAIL, and the connection and HELO before it, if the filter does not know them."""
        self.is_dropped, self.quarantine = False, ""
        self._is_done, self._failure = False, None
        return await self._guard(self._sender(transaction), transaction)

    async def recipient(self, transaction: Transaction, recipient: Recipient) -> FilterVerdict:
        """RCPT."""
        return await self._guard(self._recipient(transaction, recipient), transaction)

    async def message(
        self, transaction: Transaction, header: FilteredHeader, body: Callable[[], AsyncIterator[bytes]]
    ) -> FilterVerdict:
        """The content. ``header`` is changed as the filter wants. ``body`` begins to read the body."""
        return await self._guard(self._message(transaction, header, body), transaction)

    def close(self) -> None:
        """The client has left."""
        stream, self._stream = self._stream, None
        if stream is not None:
            if stream.is_open and (waiting := stream.write(commands.QUIT)) is not None:
                waiting.addErrback(lambda _: None)  # nobody waits for the end
            stream.close()

    async def _guard(
        self, asking: Coroutine[Any, Any, FilterVerdict], transaction: Transaction
    ) -> FilterVerdict:
        if self._is_done:
            asking.close()
            return self._failure
        try:
            return await asking
        except (FilterFailed, OSError) as error:
            self._drop_connection()
            self._is_done = True
            self._failure = self._filter.failed
            report(
                FilterUnusable(
                    id=transaction.id,
                    session=transaction.client.session,
                    reason=str(error),
                    rule=self._filter.key,
                    action=_action(self._failure),
                )
            )
            return self._failure

    def _drop_connection(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._greeted = self._has_message = False

    # ------------------------------------------------------------ the client

    async def _sender(self, transaction: Transaction) -> FilterVerdict:
        client = transaction.client
        if client.ip != self._client.ip:
            self.close()
            self._decided, self._verdict = False, None
        if not self._decided:
            await self._meet(client)
        self._client = client
        if self._decided:
            self._is_done, self._failure = True, self._verdict
            return self._verdict
        assert self._stream is not None
        if self._has_message:
            await self._send(commands.ABORT)
        self._has_message = True
        path = transaction.reverse_path
        macros = {
            "i": transaction.id,
            "auth_authen": str(client.account) if client.account else "",
            "mail_addr": format_path(path)[1:-1],
            "mail_host": path.domain or "" if path else "",
        }
        reply = await self._ask(
            commands.MAIL,
            commands.mail(path, transaction.parameters),
            macros,
            FilterStep.NO_MAIL,
            FilterStep.SILENT_MAIL,
        )
        return self._judge(reply)

    async def _meet(self, client: Client) -> None:
        """Connect, and tell the filter the client and its HELO, as far as it does not know them."""
        if self._stream is None or not self._stream.is_open:
            self._drop_connection()
            await self._connect()
            macros = {
                **self._filter.macros,
                "client_addr": client.ip,
                "client_name": commands.host_name(client.ip),
                "_": commands.host_name(client.ip),
            }
            connect = commands.connect(client.ip)
            reply = await self._ask(
                commands.CONNECT, connect, macros, FilterStep.NO_CONNECT, FilterStep.SILENT_CONNECT
            )
            self._judge_session(reply)
        if not self._decided and not (
            self._greeted and (client.helo, client.tls) == (self._client.helo, self._client.tls)
        ):
            version, _, cipher = client.tls.partition(" with ")
            macros = {"tls_version": version, "cipher": cipher}
            if self._has_message:
                self._has_message = False
                await self._send(commands.ABORT)
            reply = await self._ask(
                commands.HELO, commands.helo(client.helo), macros, FilterStep.NO_HELO, FilterStep.SILENT_HELO
            )
            self._greeted = True
            self._judge_session(reply)

    async def _connect(self) -> None:
        self._reader, self._packets = PacketReader(), []
        self._stream = await self._filter.connect()
        await self._send(offer())
        try:
            answer = await self._packet()
        except OSError as error:
            raise FilterFailed(
                f"no answer to the negotiation: {error}; the filter may need an action that this server does "
                "not offer"
            ) from error
        self._options = read_options(*answer)

    def _judge_session(self, reply: FilterReply) -> None:
        """A reply to the connection or to HELO decides about all messages, unless it is to continue."""
        if reply is FilterAnswer.CONTINUE:
            return
        if reply is FilterAnswer.DISCARD:
            raise FilterFailed("the filter wants to drop a message before there is one")
        self._decided, self._verdict = True, self._judge(reply)
        self.close()

    # ------------------------------------------------------------ the message

    async def _recipient(self, transaction: Transaction, recipient: Recipient) -> FilterVerdict:
        macros = {
            "i": transaction.id,
            "rcpt_addr": str(recipient.address),
            "rcpt_host": recipient.address.domain or "",
        }
        reply = await self._ask(
            commands.RCPT,
            commands.rcpt(recipient.address, recipient.parameters),
            macros,
            FilterStep.NO_RCPT,
            FilterStep.SILENT_RCPT,
        )
        return self._judge(reply, ends=False)

    async def _message(
        self, transaction: Transaction, header: FilteredHeader, body: Callable[[], AsyncIterator[bytes]]
    ) -> FilterVerdict:
        macros = {"i": transaction.id}
        reply = await self._ask(
            commands.DATA, packet(commands.DATA), macros, FilterStep.NO_DATA, FilterStep.SILENT_DATA
        )
        if reply is not FilterAnswer.CONTINUE:
            return self._judge(reply)
        reply = await self._send_header(header, macros)
        if reply is not FilterAnswer.CONTINUE:
            return self._judge(reply)
        if FilterStep.NO_BODY not in self._options.steps:
            async for piece in body():
                reply = await self._ask(
                    commands.BODY, commands.body(piece), {}, FilterStep(0), FilterStep.SILENT_BODY
                )
                if reply is FilterAnswer.SKIP:
                    break
                if reply is not FilterAnswer.CONTINUE:
                    return self._judge(reply)
        return await self._end(header, macros)

    async def _send_header(self, header: FilteredHeader, macros: commands.Macros) -> FilterReply:
        steps = self._options.steps
        if FilterStep.NO_HEADER not in steps:
            for field in header.fields:
                octets = commands.header(
                    field.name, field.value_for_filter(FilterStep.LEADING_SPACE in steps)
                )
                reply = await self._ask(commands.HEADER, octets, {}, FilterStep(0), FilterStep.SILENT_HEADER)
                if reply is not FilterAnswer.CONTINUE:
                    return reply
        return await self._ask(
            commands.END_OF_HEADER,
            packet(commands.END_OF_HEADER),
            macros,
            FilterStep.NO_END_OF_HEADER,
            FilterStep.SILENT_END_OF_HEADER,
        )

    async def _end(self, header: FilteredHeader, macros: commands.Macros) -> FilterVerdict:
        await self._send(commands.macros(commands.END_OF_BODY, macros) + packet(commands.END_OF_BODY))
        changes: list[FieldChange] = []
        quarantine = ""
        start = self._filter.seconds()
        while isinstance(reply := await self._reply(start), FieldChange | KeepAside):
            if isinstance(reply, KeepAside):
                quarantine = reply.reason
            elif len(changes) < MAX_CHANGES:
                changes.append(reply)
            else:
                raise FilterFailed(f"more than {MAX_CHANGES} changes of the header")
        self._has_message = False
        verdict = self._judge(reply)
        if verdict is None and not self.is_dropped:
            self.quarantine = quarantine
            for change in changes:
                header.apply(change, FilterStep.LEADING_SPACE in self._options.steps)
        return verdict

    def _judge(self, reply: FilterReply, *, ends: bool = True) -> FilterVerdict:
        """The verdict of a reply. ``ends``: a rejection ends the message, too."""
        verdict: FilterVerdict = None
        key = self._filter.key
        match reply:
            case FilterAnswer.CONTINUE:
                return None
            case FilterAnswer.ACCEPT:
                self._is_done = True
                return None
            case FilterAnswer.DISCARD:
                self._is_done = self.is_dropped = True
                return None
            case FilterAnswer.REJECT:
                verdict = Refuse(NOT_AUTHORIZED, "rejected by a mail filter", key)
            case FilterAnswer.DEFER:
                verdict = Defer(NOT_AUTHORIZED, "deferred by a mail filter; please try again later", key)
            case FilterAnswer.SHUT_DOWN | FilterAnswer.FAIL_CONNECTION:
                ends = self._decided = True
                verdict = Defer(NOT_AUTHORIZED, "a mail filter ends the session; please try again later", key)
                self._verdict = verdict
            case FilterReplyText(code, subject, detail, text):
                kind = Refuse if reply.permanent else Defer
                verdict = kind(Status(subject, detail), text, key, code)
            case _:
                raise FilterFailed(f"the reply {reply} is not allowed at this stage")
        if ends:
            self._is_done, self._failure = True, verdict
        return verdict

    # ------------------------------------------------------------ packets

    async def _ask(
        self, command: bytes, octets: bytes, macros: commands.Macros, no: FilterStep, silent: FilterStep
    ) -> FilterReply:
        """Send a command with its macros, unless the filter does not want it. Returns the reply."""
        if self._packets:
            raise FilterFailed(f"a reply without a command: {self._packets[0][0]!r}")
        is_wanted = not no & self._options.steps
        before = commands.macros(command, macros) if macros else b""
        await self._send(before + octets if is_wanted else before)
        return (
            await self._reply() if is_wanted and not silent & self._options.steps else FilterAnswer.CONTINUE
        )

    async def _send(self, octets: bytes) -> None:
        assert self._stream is not None
        if octets and (waiting := self._stream.write(octets)) is not None:
            await waiting

    async def _reply(self, start: float | None = None) -> FilterReply:
        """The next reply. The time limit counts from ``start``, by default from now on."""
        if start is None:
            start = self._filter.seconds()
        while True:
            reply = read_reply(*await self._packet())
            if self._filter.seconds() - start > LONGEST:
                raise FilterFailed(f"no decision within {LONGEST:.0f} seconds")
            if reply is not FilterAnswer.PROGRESS:
                return reply

    async def _packet(self) -> Packet:
        assert self._stream is not None
        while not self._packets:
            self._packets += self._reader.feed(await self._stream.read())
        return self._packets.pop(0)


def _action(verdict: FilterVerdict) -> str:
    return "accept" if verdict is None else "defer" if isinstance(verdict, Defer) else "reject"
