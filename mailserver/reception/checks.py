"""The contracts of checks, one for each stage, and how the checks of a stage come to one verdict.

A check answers at once where it can; a Deferred is for those that ask a disk or a network.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface

from mailserver.mail.address import Address
from mailserver.mail.verdict import Accept, Defer, Refuse
from mailserver.reception.transaction import Client, Recipient, Transaction

CheckVerdict = Accept | Defer | Refuse
CheckResult = CheckVerdict | Deferred[CheckVerdict]
CheckFunction = Callable[..., CheckResult]

# The answer of a check that has no objection and adds no header field.
ACCEPTED = Accept("Ok")


class ISenderCheck(Interface):
    """Looks at each MAIL."""

    def check_sender(transaction: Transaction) -> CheckResult:
        """Whether the client may send under ``transaction.reverse_path``."""


class IRecipientCheck(Interface):
    """Looks at each RCPT, before the router is asked: it cannot tell whether the recipient exists."""

    def check_recipient(transaction: Transaction, recipient: Address) -> CheckResult:
        """Whether the client may name another recipient."""


class IRoutedCheck(Interface):
    """Looks at each recipient that leads to mailboxes here."""

    def check_routed(transaction: Transaction, recipient: Recipient) -> CheckResult:
        """Whether mail for the recipient is accepted."""


class ILookupCheck(Interface):
    """Looks at questions about names that are no part of a transaction (VRFY, EXPN)."""

    def check_lookup(client: Client) -> CheckResult:
        """Whether the client may ask."""

    def unknown(client: Client) -> None:
        """The client has asked for a name that does not exist, or has sent mail to one."""


_T = TypeVar("_T")
_R = TypeVar("_R")


def chain(checks: Sequence[CheckFunction]) -> CheckFunction:
    """One check that asks these in their order, up to the first that does not accept.

    If all accept, the verdict has the header fields of all of them.
    """
    return checks[0] if len(checks) == 1 else partial(_ask, checks, b"")


def _ask(checks: Sequence[CheckFunction], fields: bytes, *subject: object) -> CheckResult:
    for number, check in enumerate(checks, 1):
        verdict = check(*subject)
        if verdict is ACCEPTED:
            continue
        if isinstance(verdict, Accept):
            fields += verdict.fields
        elif isinstance(verdict, Deferred):
            return verdict.addCallback(_ask_rest, checks[number:], fields, subject)
        else:
            return verdict
    return Accept("Ok", fields) if fields else ACCEPTED


def _ask_rest(
    verdict: CheckVerdict, checks: Sequence[CheckFunction], fields: bytes, subject: Sequence[object]
) -> CheckResult:
    if not isinstance(verdict, Accept):
        return verdict
    return _ask(checks, fields + verdict.fields, *subject)


def then(
    result: "_T | Deferred[_T]", function: "Callable[..., _R | Deferred[_R]]", *arguments: object
) -> "_R | Deferred[_R]":
    """``function(result, *arguments)``, as soon as the result is there."""
    if isinstance(result, Deferred):
        return result.addCallback(function, *arguments)
    return function(result, *arguments)
