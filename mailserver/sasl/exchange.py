"""One login: lines of the client to a mechanism, and back, as SMTP and POP3 carry them.

    AUTH command:  initial-response = base64 / "="             ; RFC 4954 section 4, RFC 5034 section 4
    then           response = [base64] / "*"                   ; "*" cancels

What differs between the protocols, "334" and "+" and what a refusal is called, is theirs.
"""

import base64
from collections.abc import Callable
from typing import Any

import attrs

from mailserver.sasl.coding import from_base64
from mailserver.sasl.mechanisms import Channel, Mechanism
from mailserver.sasl.steps import Challenge, Denied, LoginFailed, Question, Reason

MAX_LINE = 12288
"""The longest line of an exchange in octets, its CRLF included (RFC 4954 section 4)."""


@attrs.frozen
class Send:
    """A challenge in base64, perhaps empty; its response comes to :meth:`Exchange.line`."""

    line: bytes


@attrs.frozen
class Finished:
    """Logged in: ``account`` is the address of the account, in its normal form."""

    account: str


@attrs.frozen
class Rejected:
    """Not logged in."""

    reason: Reason


ExchangeStep = Send | Question | Finished | Rejected
"""A question is answered by :meth:`Exchange.answer`. After the last two it is all over."""


class Exchange:
    """Runs one mechanism once. No octets make it raise anything.

    ``name`` is who the client says it is, as far as it has said so.
    """

    __slots__ = ("_asked", "_listening", "_steps", "mechanism", "name")

    def __init__(self, mechanism: Mechanism, channel: Channel) -> None:
        self.mechanism = mechanism
        self.name = ""
        self._steps = mechanism.steps(channel)
        self._listening = self._asked = False

    def begin(self, initial: bytes | None) -> ExchangeStep:
        """Start; ``initial`` is the argument of the command as it came, None if there was none."""
        outcome = self._go(next, self._steps)
        if initial is None:
            return outcome
        if not self.mechanism.client_first:
            return self._fail(LoginFailed(Reason.MALFORMED))
        return self._respond(b"" if initial == b"=" else initial)

    def line(self, line: bytes) -> ExchangeStep:
        """A line of the client, without its CRLF. One that nobody waits for ends the exchange."""
        return self._fail(LoginFailed(Reason.CANCELLED)) if line == b"*" else self._respond(line)

    def answer(self, answer: Any) -> ExchangeStep:
        """The answer to the question that was asked, as :mod:`~mailserver.sasl.steps` describes it."""
        if not self._asked:
            raise RuntimeError("no answer is awaited")
        if isinstance(answer, Denied):
            return self._fail(LoginFailed(answer.reason))
        return self._go(self._steps.send, answer)

    def _respond(self, line: bytes) -> ExchangeStep:
        if not self._listening:
            return self._end(Rejected(Reason.MALFORMED))
        if len(line) + 2 > MAX_LINE:
            return self._fail(LoginFailed(Reason.TOO_LONG))
        try:
            response = from_base64(line)
        except LoginFailed as failure:
            return self._fail(failure)
        return self._go(self._steps.send, response)

    def _fail(self, failure: LoginFailed) -> ExchangeStep:
        """Raised within the mechanism, which may have a last word to say."""
        return self._go(self._steps.throw, failure)

    def _go(self, go: Callable[[Any], Challenge | Question], value: Any) -> ExchangeStep:
        try:
            step = go(value)
        except StopIteration as end:
            return self._end(Finished(end.value))
        except LoginFailed as failure:
            self.name = failure.name or self.name
            return self._end(Rejected(failure.reason))
        self._listening = isinstance(step, Challenge)
        self._asked = not self._listening
        if isinstance(step, Challenge):
            return Send(base64.b64encode(step.data))
        self.name = step.name or self.name
        return step

    def _end(self, outcome: Finished | Rejected) -> ExchangeStep:
        self._steps.close()
        self._listening = self._asked = False
        return outcome
