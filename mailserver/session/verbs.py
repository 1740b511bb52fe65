"""The rows of a verb table. The table of a protocol is the only authority on the states of its sessions.

A row has everything about a verb: the states in which it is legal, each with the state that follows, its
parser, its handlers. A handler changes no state. It returns a step:

* bytes, a reply: the verb is done, and the state that ``then`` has for the present one follows;
* a generator, which yields the pieces of a long reply and returns the last one: the same, after that;
* a :class:`~mailserver.session.events.SessionRequest`: its answer goes to ``answered``, which returns the
  next step;
* None: the verb goes on, and ``reads`` takes what it needs of the input: the responses of AUTH, the text of a
  message.

Or it raises :class:`Refused`: the verb is done, and the state stays as it is, unless the reply is the last.
A verb may be ``followed_by`` a row that is no command. That row reads what comes next: the text after DATA.
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

    # Members are singletons. Enum's own hash is a function in Python, and each command needs two of them.
    __hash__ = object.__hash__


class NegativeReply(Protocol):
    """A reply that refuses a command.

    ``reason`` and ``rule`` are for :class:`~mailserver.session.events.CommandRefused`. ``wrong``: it counts
    as an error of the client. ``last``: it ends the session.
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
    """Raised by a parser or a handler. ``by_name``: the command is good, and the address in it is refused."""

    def __init__(self, reply: NegativeReply, *, by_name: bool = False) -> None:
        super().__init__(reply.reason)
        self.reply = reply
        self.by_name = by_name


def _nothing_asked(session: Any, request: SessionRequest, answer: Any) -> Step:
    raise RuntimeError("the verb asks for nothing")


@attrs.frozen(eq=False)
class Verb:
    """One row. ``syntax`` begins with the name; ``max_line`` counts octets, CRLF included.

    ``run(session, argument)`` begins, ``answered(session, request, answer)`` and ``reads(session)`` go on;
    ``reads`` returns ``Line.INCOMPLETE`` if the input is too short. ``barred`` refuses the verb in any state.
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
    """Stands for the parser and ``run`` of a row that is no command: it is never called."""
    raise RuntimeError("this row is no command")
