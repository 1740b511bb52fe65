"""The interfaces of checks, one for each stage, and the chain of the checks of a stage.

A check returns a verdict, or a Deferred of one if it must ask a disk or a network.
"""

from collections.abc import Callable, Collection, Coroutine, Generator, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface

from mailserver.interfaces import IContent
from mailserver.mail.address import Address
from mailserver.mail.verdict import Accept, Defer, Refuse
from mailserver.reception.transaction import Client, Recipient, Transaction

CheckVerdict = Accept | Defer | Refuse
CheckResult = CheckVerdict | Deferred[CheckVerdict]
CheckFunction = Callable[..., CheckResult]

# The verdict of a check that accepts and adds no header field.
ACCEPTED = Accept("Ok")


class IClientCheck(Interface):
    """Checks each client before anything that it brings: its address, its proxy, its TLS, its account.

    The verdict is the reply to MAIL, as with ``smtpd_delay_reject`` of Postfix: some clients connect again at
    once if they get no greeting, others log in first, and the log has the sender. A check is asked again if
    the client has changed since: after HELO, TLS or a login.
    """

    def check_client(client: Client) -> CheckResult:
        """Judge the client. Header fields are added to each of its messages."""


class IHeloCheck(Interface):
    """Checks the name that a client gives in HELO or EHLO. The verdict is the reply to MAIL, as for
    :class:`IClientCheck`. RFC 5321 section 4.1.4 forbids rejecting mail for a name that does not match the
    address."""

    def check_helo(client: Client) -> CheckResult:
        """Judge ``client.helo``. Header fields are added to each of its messages."""


class ISenderCheck(Interface):
    """Checks each MAIL."""

    def check_sender(transaction: Transaction) -> CheckResult:
        """Judge ``transaction.reverse_path``."""


class IRecipientCheck(Interface):
    """Checks each RCPT before the recipient is routed, so it does not know whether the recipient exists."""

    def check_recipient(transaction: Transaction, recipient: Address) -> CheckResult:
        """Judge another recipient of the transaction."""


class IRoutedCheck(Interface):
    """Checks each recipient that has mailboxes here."""

    def check_routed(transaction: Transaction, recipient: Recipient) -> CheckResult:
        """Judge the routed recipient."""


class IHeaderCheck(Interface):
    """Checks the header of each message, at the end of its data and before its content as a whole."""

    def check_header(transaction: Transaction, header: bytes) -> CheckResult:
        """Judge the header as it is stored, without the fields that this server puts in front of it: at most
        64 KiB, in whole lines."""


class IMessageCheck(Interface):
    """Checks each message at the end of its data."""

    def check_message(transaction: Transaction, content: IContent) -> CheckResult:
        """Judge the message. ``content`` is its header and body, without the fields of this server. To read
        the content of a large message blocks."""


class IFinalCheck(Interface):
    """Checks each message that all other checks of its content have accepted."""

    def check_final(transaction: Transaction, content: IContent) -> CheckResult:
        """Judge the message, as :class:`IMessageCheck` does."""


class IExaminer(Interface):
    """Examines messages from MAIL to the end of their data, each with a state of its own."""

    def examine(transaction: Transaction) -> "IExamination | None":
        """Begin when the sender is accepted. None if this message is not examined."""


class IExamination(Interface):
    """The examination of one message. Its methods raise nothing."""

    def check_recipient(transaction: Transaction, recipient: Address) -> CheckResult:
        """See :class:`IRecipientCheck`. Asked after the other checks of this stage."""

    def feed(data: bytes) -> bytes:
        """Take the next octets of the message as they are stored, without the fields of this server. Returns
        the octets to store in their place: some may be held back, and header fields may be removed."""

    def finish() -> bytes:
        """The message has ended. Returns the octets that were held back."""

    def check_message(transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`IMessageCheck`. Asked after these checks, and before each :class:`IFinalCheck`."""

    def stop() -> None:
        """The client has given up the message before its end."""


class ISessionCheck(Interface):
    """Keeps something for each session of a client, by ``client.session``."""

    def session_ended(session: str) -> None:
        """The client has left. A check of its last message may still run."""


class ILookupCheck(Interface):
    """Checks each lookup of a name outside a transaction (VRFY, EXPN)."""

    def check_lookup(client: Client) -> CheckResult:
        """Judge whether the client may look up names."""

    def unknown(client: Client) -> None:
        """The client has looked up a name that does not exist, or has sent RCPT with one."""


class IQueueStartCheck(Interface):
    """Checks each request to start the queue for a domain (ETRN). Without such a check all are rejected."""

    def check_queue_start(client: Client, domain: str) -> CheckResult:
        """Judge whether the client may start the queue for the domain."""


class IFetchPermission(Interface):
    """Permits accounts to fetch the mail for domains of other servers (ATRN)."""

    def fetchable(account: Address) -> "Collection[str]":
        """The domains whose mail the account may fetch."""


_T = TypeVar("_T")
_R = TypeVar("_R")


def chain(checks: Sequence[CheckFunction]) -> CheckFunction:
    """One check that asks these checks in order, up to the first one that does not accept.

    If all accept, the verdict has the header fields of all checks. A message that a check has changed is the
    one that the next checks judge. No check is asked about a message that is to be dropped.
    """
    return checks[0] if len(checks) == 1 else partial(_ask, checks, ACCEPTED)


def _ask(checks: Sequence[CheckFunction], before: Accept, *subject: object) -> CheckResult:
    for number, check in enumerate(checks, 1):
        verdict = check(*subject)
        if verdict is ACCEPTED:
            continue
        if isinstance(verdict, Accept):
            if verdict.changed is None and not verdict.dropped_by:
                before = before.and_also(verdict)
            else:
                return _ask_rest(verdict, checks[number:], before, subject)
        elif isinstance(verdict, Deferred):
            return verdict.addCallback(_ask_rest, checks[number:], before, subject)
        else:
            return verdict
    return before


def _ask_rest(
    verdict: CheckVerdict, checks: Sequence[CheckFunction], before: Accept, subject: Sequence[object]
) -> CheckResult:
    if not isinstance(verdict, Accept) or verdict.dropped_by:
        return verdict
    if verdict.changed is not None:
        subject = (subject[0], verdict.changed)
    return _ask(checks, before.and_also(verdict), *subject)


def then(
    result: "_T | Deferred[_T]", function: "Callable[..., _R | Deferred[_R]]", *arguments: object
) -> "_R | Deferred[_R]":
    """Call ``function(result, *arguments)``, when the result is there."""
    if isinstance(result, Deferred):
        return result.addCallback(function, *arguments)
    return function(result, *arguments)


def started(coroutine: "Coroutine[Any, Any, _T]") -> "_T | Deferred[_T]":
    """Run a coroutine. Returns its result, or a Deferred of it if it must wait.

    A coroutine that need not wait is much cheaper than with ``Deferred.fromCoroutine``, and what it raises is
    raised here.
    """
    try:
        awaited: Deferred[Any] = coroutine.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    return Deferred.fromCoroutine(_rest(coroutine, awaited))


def _rest(
    coroutine: "Coroutine[Any, Any, _T]", awaited: "Deferred[Any]"
) -> "Generator[Deferred[Any], Any, _T]":
    """The coroutine from its first wait on."""
    while True:
        try:
            result = yield awaited
        except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine
            go_on = partial(coroutine.throw, error)
        else:
            go_on = partial(coroutine.send, result)
        try:
            awaited = go_on()
        except StopIteration as end:
            returned: _T = end.value
            return returned
