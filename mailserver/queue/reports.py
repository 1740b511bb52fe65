"""Sends reports to the senders of messages: about failures, delays and successes (RFC 3461, RFC 3464).

A report has the null reverse-path, and nothing is sent in answer to the null reverse-path (RFC 5321 section
4.5.5). So reports cause no loops. If a failure cannot be reported to the sender, or if a report of this
server fails, the postmaster gets the report instead.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailserver.errors import MessageDamaged, StorageError
from mailserver.events.base import Event, report
from mailserver.events.queue import (
    BounceDeferred,
    DelayReported,
    DeliveryFailed,
    DeliveryFailedSilently,
    DeliveryFailedUnreported,
    DeliveryReported,
    ReportNotSent,
)
from mailserver.interfaces import IReactor, IRouter, QueuedMessage
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.handling import USUAL, Handling
from mailserver.mail.ids import new_id
from mailserver.mail.outcome import Delivered
from mailserver.mail.queued import LOCAL, QueuedRecipient
from mailserver.mail.report import delivery_report
from mailserver.mail.reported import Action, ReportedMessage, ReportedRecipient, ReportHead
from mailserver.mail.returned import header_of, is_returned_whole
from mailserver.mail.verdict import Defer, Routed
from mailserver.mail.words import AddressNames
from mailserver.queue.entries import InMemoryContent, RecordedAttempt
from mailserver.queue.incoming import deliveries, remote_recipients
from mailserver.queue.requests import DONE, FAILURE, is_wanted
from mailserver.queue.schedule import EXPIRED
from mailserver.queue.spool import Spool
from mailserver.threads.pool import run_in_thread


@attrs.frozen
class GivenUp:
    """A recipient that has failed, and the configuration key that decided."""

    recipient: QueuedRecipient
    rule: str


class Reports:
    """Sends reports. ``now`` is wall-clock time in seconds since the epoch."""

    def __init__(
        self,
        spool: Spool,
        router: IRouter,
        hostname: str,
        reactor: IReactor,
        now: Callable[[], float],
        *,
        new_id: Callable[[], str] = new_id,
        sign: Callable[[bytes], bytes] = lambda octets: octets,
    ) -> None:
        """``new_id`` returns the id of a report, ``sign`` a report with its signatures."""
        self._spool = spool
        self._new_id = new_id
        self._sign = sign
        self._router = router
        self._hostname = hostname
        self._reactor = reactor
        self._now = now

    # ------------------------------------------------------------ failures

    async def failed(self, message: QueuedMessage, over: Sequence[GivenUp]) -> Sequence[QueuedRecipient]:
        """Report failed recipients, and remove them from the queue.

        Returns the recipients that stay in the queue, because the report cannot be delivered now. Fails with
        :class:`~mailserver.errors.StorageError`; then recipients without a report stay, too.
        """
        stay: list[QueuedRecipient] = []
        groups: dict[tuple[str, bool], list[GivenUp]] = {}
        for one in over:
            each = one.recipient
            wanted = is_wanted(each.notify, FAILURE) and bool(each.reverse_path or _is_own_report(each))
            groups.setdefault((each.reverse_path, wanted), []).append(one)
        for (reverse_path, wanted), group in groups.items():
            recipients = [one.recipient for one in group]
            fields = {
                **_fields(message, recipients),
                "sender": f"<{reverse_path}>",
                "reason": recipients[0].last.text,
                "host": recipients[0].last.host,
                "reply": recipients[0].last.reply,
                "rule": group[0].rule,
            }
            if not wanted:
                await self._spool.record_attempt(message, (), recipients)
                report((DeliveryFailedUnreported if reverse_path else DeliveryFailedSilently)(**fields))
                continue
            failures = [_reported(one.recipient, Action.FAILED, expired=one.rule == EXPIRED) for one in group]
            sent = await self._send(
                message, reverse_path, failures, RecordedAttempt(message, (), tuple(recipients))
            )
            if sent is None:
                report(BounceDeferred(**fields))
                stay += recipients
            else:
                report(DeliveryFailed(bounce=sent.id, addressee=f"<{sent.recipients[0]}>", **fields))
        return stay

    # ------------------------------------------------------------ delays and successes

    async def delayed(self, message: QueuedMessage, late: Mapping[QueuedRecipient, float]) -> None:
        """Warn the senders that recipients wait, and mark these in the same commit.

        The numbers are the times of the last attempts, in seconds since the epoch.
        """
        groups: dict[str, list[QueuedRecipient]] = {}
        for each in late:
            groups.setdefault(each.reverse_path, []).append(each)
        for reverse_path, recipients in groups.items():
            warned = tuple([attrs.evolve(each, warned=True) for each in recipients])
            delays = [
                attrs.evolve(_reported(each, Action.DELAYED), retry_until=late[each]) for each in recipients
            ]
            fields = _fields(message, recipients)
            await self._try(
                message, reverse_path, delays, RecordedAttempt(message, warned, ()), DelayReported, fields
            )

    async def delivered(self, message: QueuedMessage, done: Mapping[QueuedRecipient, Delivered]) -> None:
        """Report successes, and remove the recipients from the queue in the same commit."""
        groups: dict[str, list[QueuedRecipient]] = {}
        for each in done:
            groups.setdefault(each.reverse_path, []).append(each)
        for reverse_path, recipients in groups.items():
            successes = [
                ReportedRecipient(
                    address=each.recipient,
                    action=Action.DELIVERED if each.destination == LOCAL else Action.RELAYED,
                    status=DONE,
                    host=done[each].host,
                    reply=done[each].reply,
                    orcpt=each.orcpt,
                    last_attempt=self._now(),
                )
                for each in recipients
            ]
            recorded = RecordedAttempt(message, (), tuple(recipients))
            fields = _fields(message, recipients)
            if not await self._try(message, reverse_path, successes, recorded, DeliveryReported, fields):
                # The messages must not be delivered again.
                await self._spool.record_attempt(message, (), recipients)

    async def accepted(self, message: QueuedMessage, successes: Sequence[ReportedRecipient]) -> None:
        """Report the recipients of a new message that have it already. ``message`` has its header only."""
        names = AddressNames([each.address for each in successes])
        fields = {"id": message.id, "mailboxes": names, "recipients": names}
        await self._try(message, message.reverse_path, successes, None, DeliveryReported, fields)

    async def _try(
        self,
        message: QueuedMessage,
        reverse_path: str,
        reported: Sequence[ReportedRecipient],
        recorded: RecordedAttempt | None,
        sent_event: Callable[..., Event],
        fields: dict[str, Any],
    ) -> bool:
        """Send a report that nobody needs to wait for. Returns whether it was sent."""
        fields = {**fields, "sender": f"<{reverse_path}>"}
        try:
            sent = await self._send(message, reverse_path, reported, recorded)
        except StorageError as error:
            report(ReportNotSent(error=error, **fields))
            return False
        if sent is None:
            report(ReportNotSent(error="the reverse-path leads nowhere", **fields))
            return False
        report(sent_event(bounce=sent.id, addressee=f"<{sent.recipients[0]}>", **fields))
        return True

    # ------------------------------------------------------------ sending

    async def _send(
        self,
        message: QueuedMessage,
        reverse_path: str,
        reported: Sequence[ReportedRecipient],
        recorded: RecordedAttempt | None,
    ) -> Envelope | None:
        """Store a report with the record of the attempt in one commit. None if it leads nowhere now."""
        failed = reported[0].action is Action.FAILED
        found = await self._route(reverse_path, or_postmaster=failed)
        if found is None:
            return None
        to, routed = found
        asked = message.handling
        # RFC 6710, RFC 8689 section 5.
        handling = Handling(asked.priority, require_tls=asked.require_tls) if asked != USUAL else USUAL
        envelope = Envelope(self._new_id(), None, (to,), routed.destinations, handling=handling)
        may_return = not (asked.require_tls or asked.binary)
        whole = failed and may_return and is_returned_whole(message.ret, message.octets)

        def content() -> bytes:
            try:
                chunks = message.content.chunks()
                return b"".join(chunks) if whole else header_of(chunks)
            except (OSError, MessageDamaged):
                if failed:
                    raise
                return b""  # the last recipient has its copy, and the content may be gone

        unsigned = delivery_report(
            ReportHead(
                hostname=self._hostname,
                id=envelope.id,
                now=self._now(),
                to=to,
                instead_of=f"<{reverse_path}>" if to == self._router.postmaster else "",
            ),
            ReportedMessage(
                id=message.id,
                received=message.received,
                envid=message.envid,
                deliver_by=None if asked.deadline is None else asked.deadline.when,
                held_until=asked.release or None,
                content=await run_in_thread(self._reactor, content),
                whole=whole,
            ),
            reported,
        )
        octets = self._sign(unsigned)
        await self._spool.accept(
            InMemoryContent(octets),
            envelope,
            deliveries(envelope, b"", len(octets)),
            remote_recipients(envelope, b""),
            recorded,
            together=(),  # no mailbox rejects it
        )
        return envelope

    async def _route(self, reverse_path: str, *, or_postmaster: bool) -> tuple[Address, Routed] | None:
        """The addressee of a report. None if there is none, or if that is not known now."""
        asked = [Address.parse(reverse_path)] if reverse_path else []
        if or_postmaster:
            asked.append(self._router.postmaster)
        for to in asked:
            verdict = self._router.route(to)
            if isinstance(verdict, Deferred):
                verdict = await verdict
            if isinstance(verdict, Routed):
                if not verdict.bounces_only:
                    return to, verdict
                # A rewritten reverse-path leads to a single sender, whom the report names.
                sender = verdict.destinations[0].mailbox
                return sender, Routed((attrs.evolve(verdict.destinations[0], delivered_to=sender),))
            if isinstance(verdict, Defer):
                return None
        return None


def _is_own_report(each: QueuedRecipient) -> bool:
    """Whether the message is a report of this server for another one: only such a message has no Received
    field of this server."""
    return each.destination != LOCAL and b"Received: " not in each.head


def _fields(message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> dict[str, Any]:
    return {
        "id": message.id,
        "mailboxes": AddressNames([each.address for each in recipients]),
        "recipients": AddressNames(dict.fromkeys(each.recipient for each in recipients)),
    }


def _reported(each: QueuedRecipient, action: Action, *, expired: bool = False) -> ReportedRecipient:
    last = each.last
    return ReportedRecipient(
        address=each.recipient,
        action=action,
        status=last.status,
        text=last.text,
        host=last.host,
        reply=last.reply,
        orcpt=each.orcpt,
        expired=expired,
        last_attempt=last.when,
    )
