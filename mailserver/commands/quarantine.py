"""``mailserver quarantine``: shows, releases and removes the messages that are kept aside.

The messages are in the mailbox ``quarantine@`` of each domain, and expire there. A release puts the message
into the queue with its own envelope, and then removes it: a crash between the two may deliver it twice, and
never loses it.
"""

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailserver.commands.account_admin import text_in, texts_in
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.errors import MaildropInUse, MessageVanished, one_line
from mailserver.events.base import report
from mailserver.events.messages import QuarantineExpired, QuarantineReleased, QuarantineRemoved
from mailserver.interfaces import (
    IMailboxStore,
    IMailboxView,
    IMaildrop,
    IMaildrops,
    IReactor,
    IRouter,
    ISpool,
    IStoredMessage,
)
from mailserver.mail.address import Address, format_path
from mailserver.mail.envelope import Envelope
from mailserver.mail.quarantine import KeptAside
from mailserver.mail.verdict import Destination, Routed
from mailserver.mail.words import AddressNames, counted
from mailserver.threads.pool import run_in_thread

BEGINNING = 64 * 1024  # octets that have the fields of the quarantine, and the subject
SHOWN = 16 * 1024  # octets of a message that "show" prints
AT_ONCE = 50  # messages of one answer
_SUBJECT = re.compile(rb"^subject:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


@attrs.frozen
class QuarantineRules:
    """The mailboxes of the quarantine, and the seconds after which a message there expires; 0: never."""

    mailboxes: Sequence[Address]
    expire_after: float


@attrs.frozen
class Kept:
    """A message in the quarantine. ``arrived`` and ``expires`` are in seconds since the epoch; ``expires`` is
    None if it never does. ``start`` is the octet where the message begins as it came; ``beginning`` has its
    first octets from there."""

    mailbox: Address
    index: int
    uid: str
    octets: int
    arrived: float
    expires: float | None
    record: KeptAside
    start: int
    beginning: bytes

    @property
    def subject(self) -> str:
        found = _SUBJECT.search(self.beginning.partition(b"\r\n\r\n")[0])
        return found[1].decode(errors="replace") if found is not None else ""

    @property
    def line(self) -> str:
        """For a listing."""
        envelope = self.record.envelope
        recipients = ", ".join(map(format_path, envelope.recipients))
        return (
            f"{self.uid}: {format_path(envelope.reverse_path)} to {recipients}, {self.octets} octets: "
            f"{self.record.reason}; subject: {self.subject or 'none'}; "
            + ("never expires" if self.expires is None else f"expires {_time(self.expires)}")
        )

    @property
    def json(self) -> str:
        """The same as an object."""
        envelope = self.record.envelope
        return json.dumps(
            {
                "quarantine_id": self.uid,
                "id": envelope.id,
                "mailbox": str(self.mailbox),
                "sender": str(envelope.reverse_path or ""),
                "recipients": [str(each) for each in envelope.recipients],
                "client": envelope.client,
                "octets": self.octets,
                "received": _time(self.arrived),
                "expires": None if self.expires is None else _time(self.expires),
                "reason": self.record.reason,
                "subject": self.subject,
            }
        )


class Quarantine:
    """Performs the commands. For the reactor's thread."""

    def __init__(
        self,
        store: IMailboxStore,
        maildrops: IMaildrops,
        spool: ISpool,
        router: IRouter,
        rules: Callable[[], QuarantineRules],
        reactor: IReactor,
    ) -> None:
        """``rules`` returns those in force."""
        self._store = store
        self._maildrops = maildrops
        self._spool = spool
        self._router = router
        self._rules = rules
        self._reactor = reactor

    async def run(self, request: Request) -> CommandOutcome:
        """Perform a request. Raises CommandFailed and StorageError."""
        match request["command"]:
            case "quarantine list":
                return await self._list(request)
            case "quarantine show":
                return await self._show(text_in(request, "id"))
        act = self._release if request["command"] == "quarantine release" else self._remove
        return CommandOutcome(tuple([await self._change(id, act) for id in texts_in(request, "ids")]))

    # ------------------------------------------------------------ reading

    async def _list(self, request: Request) -> CommandOutcome:
        """A part of the list. ``more`` has the number of the mailbox, that of the message, and the count."""
        more = request.get("more")
        number, first, count = map(int, more) if isinstance(more, list) else (0, 0, 0)
        as_json, mailboxes = request.get("json") is True, self._rules().mailboxes
        if number >= len(mailboxes):
            return CommandOutcome(() if as_json else (f"{counted(count, 'message')} in the quarantine",))
        mailbox = mailboxes[number]
        view: IMailboxView = await self._store.browse(mailbox)
        indexes = range(first, min(first + AT_ONCE, len(view.messages)))
        kept = [one async for one in self._kept(mailbox, view, indexes)]
        lines = [one.json if as_json else one_line(one.line) for one in kept]
        is_over = first + AT_ONCE >= len(view.messages)
        following = [number + 1, 0] if is_over else [number, first + AT_ONCE]
        return CommandOutcome(tuple(lines), more=[*following, count + len(kept)])

    async def _kept(
        self, mailbox: Address, view: IMailboxView, indexes: Sequence[int]
    ) -> AsyncIterator[Kept]:
        """The messages with these indexes that the quarantine has put there."""
        expire_after = self._rules().expire_after
        for index in indexes:
            try:
                content: bytes | IStoredMessage = await view.read(index)
                arrived: float = await view.arrived(index)
            except MessageVanished:
                continue
            if isinstance(content, bytes):
                beginning, octets = content, len(content)
            else:
                octets = content.size
                beginning = await run_in_thread(self._reactor, _beginning, content)
            if (found := KeptAside.read(beginning)) is not None:
                record, start = found
                rest = beginning[start : start + BEGINNING]
                uid, expires = view.messages.uid(index), arrived + expire_after if expire_after else None
                yield Kept(mailbox, index, uid, octets - start, arrived, expires, record, start, rest)

    async def _find(self, id: str, mailbox: Address, view: IMailboxView) -> Kept | None:
        indexes = [index for index, info in enumerate(view.messages) if info.uid == id]
        return next(iter([one async for one in self._kept(mailbox, view, indexes)]), None)

    async def _show(self, id: str) -> CommandOutcome:
        for mailbox in self._rules().mailboxes:
            if (found := await self._find(id, mailbox, await self._store.browse(mailbox))) is not None:
                text = found.beginning[:SHOWN].decode(errors="replace")
                return CommandOutcome((one_line(found.line), "", *map(one_line, text.split("\r\n"))))
        raise _missing(id)

    # ------------------------------------------------------------ changes

    async def _change(self, id: str, act: Any) -> str:
        for mailbox in self._rules().mailboxes:
            try:
                maildrop: IMaildrop = await self._maildrops.maildrop(mailbox)
            except MaildropInUse:
                raise CommandFailed(f"a POP3 session has locked the mailbox {mailbox}; try again") from None
            try:
                found = await self._find(id, mailbox, maildrop)
                if found is None:
                    continue
                text = str(await act(found, maildrop))
                if await maildrop.remove([found.index]):
                    raise CommandFailed(f"{text}; but it could not be removed from {mailbox}")
                return text
            finally:
                maildrop.release()
        raise _missing(id)

    async def expire(self, mailbox: Address, now: float) -> None:
        """Remove the messages of a mailbox of the quarantine that are to expire by a time, in seconds since
        the epoch. Raises MaildropInUse and StorageError."""
        seconds = self._rules().expire_after
        before = now - seconds
        if not seconds or not await self._store.has_before(mailbox, before):
            return
        maildrop: IMaildrop = await self._maildrops.maildrop(mailbox)
        try:
            due: Sequence[int] = await maildrop.arrived_before(before)
            for start in range(0, len(due), AT_ONCE):
                indexes = due[start : start + AT_ONCE]
                kept = [one async for one in self._kept(mailbox, maildrop, indexes)]
                failed = await maildrop.remove([one.index for one in kept])
                for one in kept:
                    if one.index not in failed:
                        report(QuarantineExpired(**_fields(one), rule="quarantine.expire_after"))
        finally:
            maildrop.release()

    async def _remove(self, found: Kept, maildrop: IMaildrop) -> str:
        report(QuarantineRemoved(**_fields(found)))
        return f"{found.uid}: removed"

    async def _release(self, found: Kept, maildrop: IMaildrop) -> str:
        """Put a message into the queue with its envelope."""
        envelope = await self._routed(found.record.envelope)
        incoming = self._spool.receive(envelope, b"")
        try:
            content: bytes | IStoredMessage = await maildrop.read(found.index)
            skipped = found.start
            async for piece in self._pieces(content):
                rest = piece[skipped:]
                skipped = max(0, skipped - len(piece))
                if rest and (waiting := incoming.write(rest)) is not None:
                    await waiting
        except BaseException:
            incoming.abandon()
            raise
        full = await incoming.commit()
        report(QuarantineReleased(**_fields(found)))
        text = f"{found.uid}: released to {counted(len(envelope.recipients) - len(full), 'recipient')}"
        return f"{text}; the mailboxes of the others are full" if full else text

    async def _routed(self, envelope: Envelope) -> Envelope:
        """The envelope with the destinations that its recipients have now."""
        destinations: dict[Address, Destination] = {}
        for recipient in envelope.recipients:
            verdict = self._router.route(recipient)
            routed = await verdict if isinstance(verdict, Deferred) else verdict
            if not isinstance(routed, Routed):
                raise CommandFailed(f"{format_path(recipient)} takes no mail any more; nothing is changed")
            for destination in routed.destinations:
                destinations.setdefault(destination.mailbox, destination)
        return attrs.evolve(envelope, destinations=tuple(destinations.values()))

    async def _pieces(self, content: bytes | IStoredMessage) -> AsyncIterator[bytes]:
        if isinstance(content, bytes):
            yield content
            return
        reader = content.open()
        try:
            while piece := await run_in_thread(self._reactor, reader.read):
                yield piece
        finally:
            reader.close()


def _beginning(content: IStoredMessage) -> bytes:
    """The first octets of a message. Blocks."""
    found = b""
    chunks: Iterator[bytes] = content.chunks()
    for chunk in chunks:
        found += chunk
        if len(found) >= BEGINNING:
            break
    return found


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _missing(id: str) -> CommandFailed:
    return CommandFailed(f'no message "{id}" in the quarantine; see: mailserver quarantine list')


def _fields(found: Kept) -> dict[str, Any]:
    envelope = found.record.envelope
    return {
        "id": envelope.id,
        "sender": format_path(envelope.reverse_path),
        "recipients": AddressNames(envelope.recipients),
        "reason": found.record.reason,
    }


QUARANTINE_COMMANDS = tuple(f"quarantine {name}" for name in ("list", "show", "release", "remove"))
