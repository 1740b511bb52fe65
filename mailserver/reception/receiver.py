"""Receives the messages of one client, one transaction after another.

The order of calls for a message: ``sender``, ``recipient`` once or more, ``start``, ``write`` any number of
times, then one of ``finish``, ``reject`` and ``abandon``. The next ``sender`` begins a new transaction. The
caller logs the verdicts on senders and recipients; this module logs the verdict on the message.
"""

from collections.abc import Collection, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from mailserver.errors import MailboxFull, StorageError, StorageFull
from mailserver.events.base import report
from mailserver.events.messages import (
    MessageAccepted,
    MessageDeferred,
    MessageDiscarded,
    MessagePostponed,
    MessageQuarantined,
    MessageRejected,
)
from mailserver.interfaces import IIncomingMessage
from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.envelope import Parameters
from mailserver.mail.filtering import HeadFilter
from mailserver.mail.handling import KEYWORDS, is_binary, read_handling
from mailserver.mail.verdict import (
    INVALID_ARGUMENTS,
    MAIL_SYSTEM,
    MAIL_SYSTEM_FULL,
    MAILBOX_FULL,
    Accept,
    Defer,
    Moved,
    Refuse,
    Routed,
)
from mailserver.mail.words import AddressNames
from mailserver.reception.checks import ACCEPTED, CheckFunction, CheckResult, CheckVerdict, chain, then
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client, Recipient, Transaction

RecipientVerdict = Routed | Moved | Defer | Refuse

FULL = Refuse(MAILBOX_FULL, "the mailbox is full", "storage.quota")


class MailReceiver:
    """``transaction`` is the current transaction, None before the first accepted ``sender``."""

    __slots__ = (
        "_check_recipient",
        "_examinations",
        "_full",
        "_head",
        "_incoming",
        "_judged",
        "_octets",
        "_reception",
        "_together",
        "transaction",
    )

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self.transaction: Transaction | None = None
        # The client as it was judged last, and the verdict, unless it was to defer.
        self._judged: tuple[Client, CheckVerdict] | None = None
        # The examinations of the current transaction, and the check of its recipients.
        self._examinations: Sequence[Any] = ()
        self._check_recipient = reception.check_recipient
        # Set while content arrives.
        self._head: HeadFilter | None = None
        self._incoming: IIncomingMessage | None = None
        self._octets = 0
        # LMTP: the mailboxes of each recipient, and those that have rejected the message.
        self._together: Sequence[Collection[Address]] | None = None
        self._full: Collection[Address] = ()

    # ------------------------------------------------------------ the envelope

    def sender(self, client: Client, reverse_path: ReversePath, parameters: Parameters) -> CheckResult:
        """MAIL: begin a transaction if the reverse-path is accepted."""
        reception = self._reception
        transaction = Transaction(reception.new_id(), reception.listener, client, reverse_path, parameters)
        if not KEYWORDS.isdisjoint(parameters) or ("BODY" in parameters and is_binary(parameters)):
            try:
                handling = read_handling(parameters, reception.now())
            except ValueError as error:
                self.transaction = None
                return Refuse(INVALID_ARGUMENTS, str(error))
            transaction = attrs.evolve(transaction, handling=handling)
        self.transaction = None
        if self._examinations:
            self._stop_examinations()
        if reception.check_client is not None:
            verdict = self._check_client(reception.check_client, client)
            return then(verdict, self._client_judged, transaction)
        return self._client_judged(ACCEPTED, transaction)

    def _check_client(self, check: CheckFunction, client: Client) -> CheckResult:
        if self._judged is not None and self._judged[0] == client:
            return self._judged[1]
        return then(check(client), self._keep_verdict, client)

    def _keep_verdict(self, verdict: CheckVerdict, client: Client) -> CheckVerdict:
        if not isinstance(verdict, Defer):
            self._judged = client, verdict
        return verdict

    def _client_judged(self, verdict: CheckVerdict, transaction: Transaction) -> CheckResult:
        if not isinstance(verdict, Accept):
            return verdict
        judged = self._reception.check_sender(transaction)
        if judged is ACCEPTED and not verdict.fields:
            self.transaction = transaction
            if self._reception.examiners:
                self._examine(transaction)
            return ACCEPTED
        return then(judged, self._sender_judged, transaction, verdict.fields)

    def _sender_judged(self, verdict: CheckVerdict, transaction: Transaction, fields: bytes) -> CheckVerdict:
        if isinstance(verdict, Accept):
            self.transaction = attrs.evolve(transaction, fields=fields + verdict.fields)
            self._examine(self.transaction)
        return verdict

    def _examine(self, transaction: Transaction) -> None:
        """Begin the examinations of the message."""
        begun = (examine(transaction) for examine in self._reception.examiners)
        self._examinations = [one for one in begun if one is not None]
        if self._examinations:
            checks = [self._reception.check_recipient, *(one.check_recipient for one in self._examinations)]
            self._check_recipient = chain(checks)

    def _stop_examinations(self) -> None:
        examinations, self._examinations = self._examinations, ()
        self._check_recipient = self._reception.check_recipient
        for one in examinations:
            one.stop()

    def recipient(
        self, address: Address, parameters: Parameters
    ) -> "RecipientVerdict | Deferred[RecipientVerdict]":
        """RCPT: route the recipient, and add it to the transaction if it is accepted."""
        # The common case has no Deferred and few calls.
        verdict = self._check_recipient(self.transaction, address)
        if verdict is not ACCEPTED:
            return then(verdict, self._recipient_judged, address, parameters)
        routed = self._reception.router.route(address)
        if isinstance(routed, Routed):
            return self._routed(routed, address, parameters, b"")
        return then(routed, self._routed, address, parameters, b"")

    def _recipient_judged(
        self, verdict: CheckVerdict, address: Address, parameters: Parameters
    ) -> "RecipientVerdict | Deferred[RecipientVerdict]":
        if not isinstance(verdict, Accept):
            return verdict
        routed = self._reception.router.route(address)
        return then(routed, self._routed, address, parameters, verdict.fields)

    def _routed(
        self, routed: RecipientVerdict, address: Address, parameters: Parameters, fields: bytes
    ) -> "RecipientVerdict | Deferred[RecipientVerdict]":
        transaction = self.transaction
        assert transaction is not None, "no transaction has begun"
        if not isinstance(routed, Routed):
            return self._reception.count_unknown(routed, transaction.client)
        recipient = Recipient(address, routed, parameters)
        verdict = self._reception.check_routed(transaction, recipient)
        if verdict is not ACCEPTED:
            return then(verdict, self._routed_judged, transaction, recipient, fields)
        self.transaction = transaction.with_recipient(recipient, fields)
        return routed

    def _routed_judged(
        self, verdict: CheckVerdict, transaction: Transaction, recipient: Recipient, fields: bytes
    ) -> RecipientVerdict:
        if not isinstance(verdict, Accept):
            return verdict
        self.transaction = transaction.with_recipient(recipient, fields + verdict.fields)
        return recipient.routed

    # ------------------------------------------------------------ the content

    def start(self) -> None:
        """The content begins to arrive."""
        assert self.transaction is not None, "no transaction has begun"
        self._incoming, self._head = self._reception.receive(self.transaction)
        self._octets = 0

    def write(self, data: bytes) -> "Deferred[None] | None":
        """Add content. None, or a Deferred to wait for before the next call."""
        assert self._incoming is not None and self._head is not None, "no message has begun"
        data = self._head.feed(data)
        for examination in self._examinations:
            data = examination.feed(data)
        self._octets += len(data)
        return self._incoming.write(data) if data else None

    def finish(self) -> "Deferred[CheckVerdict]":
        """Check and store the complete message. Fires with Accept once it is synced to disk."""
        incoming, head = self._incoming, self._head
        assert self.transaction and incoming and head, "no message has begun"
        rest = head.finish()
        check = self._reception.check_message
        if self._examinations:
            examinations, self._examinations = self._examinations, ()
            for one in examinations:
                rest = one.feed(rest) + one.finish()
            examined = [one.check_message for one in examinations]
            check = chain([*self._reception.check_content, *examined, *self._reception.check_final])
        self._incoming = self._head = None
        self._octets += len(rest)
        waiting = incoming.write(rest) if rest else None
        if waiting is None:
            return self._store(None, self.transaction, incoming, check)
        return waiting.addCallback(self._store, self.transaction, incoming, check)

    def finish_for_each(self) -> "Deferred[Sequence[CheckVerdict]]":
        """Like :meth:`finish`, with a verdict for each recipient (LMTP): only those whose mailboxes are full
        reject the message."""
        assert self.transaction, "no message has begun"
        recipients = self.transaction.recipients
        self._together = [recipient.mailboxes for recipient in recipients]
        self._full = ()
        return self.finish().addCallback(self._verdicts, recipients)

    def _verdicts(self, verdict: CheckVerdict, recipients: Sequence[Recipient]) -> Sequence[CheckVerdict]:
        return [FULL if one.is_rejected_by(self._full) else verdict for one in recipients]

    def _store(
        self,
        result: None,
        transaction: Transaction,
        incoming: IIncomingMessage,
        check: CheckFunction | None,
    ) -> "Deferred[CheckVerdict]":
        if check is None:
            return self._commit(transaction, incoming, ACCEPTED)
        try:
            judged = check(transaction, incoming.content)
        except Exception:  # noqa: BLE001 - the Deferred fails with it
            incoming.abandon()
            return fail()
        if isinstance(judged, Deferred):
            return Deferred.fromCoroutine(self._awaited_verdict(judged, transaction, incoming))
        return self._take(judged, transaction, incoming)

    async def _awaited_verdict(
        self, result: Deferred[CheckVerdict], transaction: Transaction, incoming: IIncomingMessage
    ) -> CheckVerdict:
        try:
            verdict = await result
        except BaseException:
            incoming.abandon()
            raise
        return await self._take(verdict, transaction, incoming)

    def _take(
        self, verdict: CheckVerdict, transaction: Transaction, incoming: IIncomingMessage
    ) -> "Deferred[CheckVerdict]":
        """Commit the message if the checks of its content have accepted it."""
        if isinstance(verdict, Accept) and not verdict.dropped_by:
            return self._commit(transaction, incoming, verdict)
        incoming.abandon()
        if isinstance(verdict, Accept):
            report(MessageDiscarded(rule=verdict.dropped_by, **_fields(transaction)))
            return succeed(_queued(transaction))
        return succeed(_log(verdict, verdict.text, transaction, MessagePostponed))

    def _commit(
        self, transaction: Transaction, incoming: IIncomingMessage, verdict: Accept
    ) -> "Deferred[CheckVerdict]":
        fields, aside, changed = verdict.fields, verdict.aside, verdict.changed

        def stored(full: Collection[Address]) -> CheckVerdict:
            accepted = self._log_full(transaction, full) if full else transaction
            report(MessageAccepted(size=self._octets, **_fields(accepted)))
            if aside is not None:
                report(MessageQuarantined(reason=aside.reason, rule=aside.key, **_fields(transaction)))
            return _queued(transaction)

        def failed(failure: Failure) -> CheckVerdict:
            failure.trap(StorageError)
            error = failure.value
            reason = (
                f"{error}: {AddressNames(error.mailboxes)}" if isinstance(error, MailboxFull) else str(error)
            )
            return _log(_storage_verdict(error), reason, transaction)

        if aside is None:
            return incoming.commit(fields, self._together, None, changed).addCallbacks(stored, failed)
        mailbox, kept = self._reception.keep_aside(transaction, aside)
        return incoming.commit(kept + fields, None, mailbox, changed).addCallbacks(stored, failed)

    def _log_full(self, transaction: Transaction, full: Collection[Address]) -> Transaction:
        """Log the recipients that have rejected the message. Returns the transaction with the others."""
        self._full = full
        parts: dict[bool, list[Recipient]] = {True: [], False: []}
        for recipient in transaction.recipients:
            parts[recipient.is_rejected_by(full)].append(recipient)
        _log(FULL, FULL.text, attrs.evolve(transaction, recipients=tuple(parts[True])))
        return attrs.evolve(transaction, recipients=tuple(parts[False]))

    def reject(self, reason: str, key: str) -> None:
        """Drop the message that is arriving, and log the reason and the deciding key."""
        assert self.transaction is not None, "no transaction has begun"
        report(MessageRejected(reason=reason, rule=key, **_fields(self.transaction)))
        self.abandon()

    def abandon(self) -> None:
        """Drop the message, if one is arriving. The client sends no other one in this transaction."""
        if self._examinations:
            self._stop_examinations()
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = self._head = None


def _queued(transaction: Transaction) -> Accept:
    return Accept(f"Ok: queued as {transaction.id}")


def _fields(transaction: Transaction) -> dict[str, Any]:
    """The fields of every event of a message."""
    client = transaction.client
    return {
        "id": transaction.id,
        "sender": format_path(transaction.reverse_path),
        "recipients": AddressNames([recipient.address for recipient in transaction.recipients]),
        "client": client.ip,
        "session": client.session,
        "account": str(client.account) if client.account else "",
    }


def _log(
    verdict: Defer | Refuse,
    reason: str,
    transaction: Transaction,
    deferred: type[MessageDeferred] | type[MessagePostponed] = MessageDeferred,
) -> Defer | Refuse:
    """Log that the message is not accepted. ``deferred`` is the event if it is deferred."""
    event = MessageRejected if isinstance(verdict, Refuse) else deferred
    report(event(reason=reason, rule=verdict.key, **_fields(transaction)))
    return verdict


def _storage_verdict(error: BaseException | None) -> Defer | Refuse:
    """The verdict on a message that could not be stored."""
    if isinstance(error, MailboxFull):
        return FULL
    if isinstance(error, StorageFull):
        text = "insufficient storage; please try again later"
        return Defer(MAIL_SYSTEM_FULL, text, "storage.reserve")
    return Defer(MAIL_SYSTEM, "the message cannot be stored now; please try again later", "storage")
