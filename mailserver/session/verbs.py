"""The rows of a verb table. The table of a protocol is the only authority on the states of its sessions.

A row describes a verb: its legal states, each with its next state, its parser and its handlers. A handler
never changes the state. It returns a step:

* bytes, a reply: the verb is done, and ``then`` gives the next state for the current one;
* a generator that yields the pieces of a long reply and returns the last one: the same, after that;
* a :class:`~mailserver.session.events.SessionRequest`: its answer goes to ``answered``, which returns the
  next step;
* None: the verb continues, and ``reads`` takes its input: the responses of AUTH, the text of a message.

Or it raises :class:`Refused`: the verb is done and the state does not change, unless the reply ends the
session. A verb may be ``followed_by`` a row that is not a command. That row reads the next input: the text
after DATA.
"""

from collections.abc import Callable, Generator, Mapping
from enum import Enum
from typing import Any, Protocol

import attrs

from mailserver.session.events import SessionRequest
from mailserver.wire.lines import Line

Pieces = Generator[bytes, None, bytes]
Step = bytes | Pieces | SessionRequest | None


class SessionState(Enum):
    """Base class for the states of a protocol."""

    # Members are singletons. The hash function of Enum is slow, and each command needs two hashes.
    __hash__ = object.__hash__


class NegativeReply(Protocol):
    """A reply that rejects a command.

    ``reason`` and ``rule`` are for :class:`~mailserver.session.events.CommandRefused`. ``wrong``: the command
    counts as an error of the client. ``last``: the reply ends the session.
    """

    @property
    def octets(self) -> bytes: ...
    @property
    def reason(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def wrong(self) -> bool: ...
    @property
    def last(self) -> bool: ...


class Refused(Exception):
    """Raised by a parser or a handler. ``by_name``: the command is correct, but its address is rejected."""

    def __init__(self, reply: NegativeReply, *, by_name: bool = False) -> None:
        super().__init__(reply.reason)
        self.reply = reply
        self.by_name = by_name


def _nothing_asked(session: Any, request: SessionRequest, answer: Any) -> Step:
    raise RuntimeError("the verb has no requests")


@attrs.frozen(eq=False)
class Verb:
    """One row. ``syntax`` begins with the name; ``max_line`` counts octets, CRLF included.

    ``run(session, argument)`` begins the verb; ``answered(session, request, answer)`` and ``reads(session)``
    continue it. ``reads`` returns ``Line.INCOMPLETE`` if it needs more input. ``barred`` is the reply of a
    verb that is rejected in every state.
    """

    syntax: str
    then: Mapping[Any, Any]
    parse: Callable[..., object]
    run: Callable[[Any, Any], Step]
    answered: Callable[[Any, Any, Any], Step] = _nothing_asked
    reads: Callable[[Any], Step | Line] | None = None
    followed_by: "Verb | None" = None
    max_line: int = 512
    barred: NegativeReply | None = None

    @property
    def name(self) -> str:
        """The first word of the syntax."""
        return self.syntax.partition(" ")[0]

    def wrong_state(self, state: Any) -> NegativeReply:
        """The reply in a state where the verb is not legal."""
        raise NotImplementedError


def never_run(*arguments: Any) -> Step:
    """The parser and ``run`` of a row that is not a command. Never called."""
    raise RuntimeError("this row is not a command")
