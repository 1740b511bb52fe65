"""One login by AUTH: passes lines of the client to a mechanism, and its challenges back.

    AUTH command:  initial-response = base64 / "="             ; RFC 4954 section 4, RFC 5034 section 4
    then           response = [base64] / "*"                   ; "*" cancels

SMTP and POP3 add their own parts of the replies, such as "334" or "+".
"""

import base64
from collections.abc import Callable
from typing import Any

import attrs

from mailserver.sasl.coding import from_base64
from mailserver.sasl.mechanisms import Channel, Mechanism
from mailserver.sasl.steps import Challenge, Denied, LoginFailed, Question, Reason

MAX_LINE = 12288
"""Maximum length of a line of an exchange in octets, including its CRLF (RFC 4954 section 4)."""


@attrs.frozen
class Send:
    """A challenge in base64, possibly empty. Pass the response to :meth:`Exchange.line`."""

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
"""Pass the answer of a question to :meth:`Exchange.answer`. ``Finished`` and ``Rejected`` are final."""


class Exchange:
    """Runs a mechanism once. No input of the client makes it raise.

    ``name`` is the user name that the client has given so far.
    """

    __slots__ = ("_asked", "_listening", "_steps", "mechanism", "name")

    def __init__(self, mechanism: Mechanism, channel: Channel) -> None:
        self.mechanism = mechanism
        self.name = ""
        self._steps = mechanism.steps(channel)
        self._listening = self._asked = False

    def begin(self, initial: bytes | None) -> ExchangeStep:
        """Start. ``initial`` is the argument of the command, None if there was none."""
        outcome = self._go(next, self._steps)
        if initial is None:
            return outcome
        if not self.mechanism.client_first:
            return self._fail(LoginFailed(Reason.MALFORMED))
        return self._respond(b"" if initial == b"=" else initial)

    def line(self, line: bytes) -> ExchangeStep:
        """A line of the client, without its CRLF. An unexpected line ends the exchange."""
        return self._fail(LoginFailed(Reason.CANCELLED)) if line == b"*" else self._respond(line)

    def answer(self, answer: Any) -> ExchangeStep:
        """The answer to the last question, as :mod:`~mailserver.sasl.steps` describes it."""
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
        """Throw an error into the mechanism, which may send another challenge."""
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
