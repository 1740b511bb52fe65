"""The replies of a session behind rules: they are collected, changed, and sent step by step."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from mailserver.faults.acts import ActStep, Ending, Later, Pause, Plan, with_late
from mailserver.faults.moments import DOT, POP3, STORED
from mailserver.faults.restyle import ReplyFacts
from mailserver.faults.rules import Facts
from mailserver.faults.script import Script
from mailserver.faults.transcript import Transcript
from mailserver.mail.trace import date_time
from mailserver.pop3.states import POP3State
from mailserver.session.core import LineSession
from mailserver.session.output import OutputBuffer
from mailserver.smtp.states import SMTPState


@attrs.define(eq=False)
class Unit:
    """One command: from its line to its reply. ``plan`` changes the reply.

    ``facts`` are what the reply may say in the style of another server. ``is_refused``: that server does not
    know the command, and the reply is its own.
    """

    moment: str
    argument: str = ""
    plan: Plan | None = None
    is_passed_on: bool = False  # the reply goes out as it comes
    collected: list[bytes] = attrs.field(factory=list)
    outcome: str = ""  # the moment STORED or REMOVED, if it has come
    facts: ReplyFacts | None = None
    is_refused: bool = False


class ScriptedReplies:
    """The output side of a :class:`~mailserver.faults.session.ScriptedSession`."""

    def __init__(self, session: LineSession, script: Script, transcript: Transcript) -> None:
        self._session = session
        self._script = script
        self._transcript = transcript
        script.count += 1
        self._number = script.count
        self._account = self._helo = self._shown_verb = ""
        self._input = b""
        self._output = OutputBuffer()
        self._steps: deque[ActStep | Callable[[], Any]] = deque()
        self._late: list[bytes] = []  # replies to be sent after the next one
        self._unit: Unit | None = None
        self._text = 0  # octets of the message that have arrived
        self._tail = b"\n"  # the last octets of the text
        self._acting = self._tls = False
        self._ending: Ending | None = None  # the session is over, by a rule

    # ------------------------------------------------------------ steps

    def _step(self, step: ActStep | Callable[[], Any]) -> Any:
        match step:
            case bytes():
                self._send(step)
            case Later(octets):
                self._late.append(octets)
            case Pause():
                self._acting = True
                return step
            case Ending():
                self._ending = step
                self._input = b""
                self._event(step.value)
                # The caller closes the connection of a closed session.
                return None if step is Ending.CLOSE else step
            case _:
                return step()
        return None

    def _send(self, data: bytes) -> None:
        if data:
            self._transcript.reply(data, self._now(), tls=self._tls)
            self._output.add(data)

    def _queue(self, steps: Sequence[ActStep]) -> None:
        """Queue the steps of a reply. Late replies are sent behind it."""
        if self._late and (changed := with_late(steps, self._late)) is not None:
            self._late.clear()
            steps = changed
        self._steps += steps

    def _after_steps(self, event: Any) -> Any:
        """The event, after the steps that come before it."""
        if not self._steps:
            return event
        self._steps.append(lambda: event)
        return None

    # ------------------------------------------------------------ replies

    def _collect(self) -> None:
        """Take the output of the session."""
        data = self._session.take_output()
        if not data:
            return
        if self._unit is None or self._unit.is_passed_on:
            self._send(data)
        else:
            self._unit.collected.append(data)

    def _refuses(self, verb: str) -> bool:
        """Whether the other server, whose style the replies have, does not know a command; reply so."""
        unit, restyle = self._unit, self._script.restyle
        if unit is None or unit.facts is None or restyle is None:
            return False
        refusal = restyle.refusal(verb, unit.facts)
        if refusal is None:
            return False
        unit.is_refused = True
        unit.collected.append(refusal)
        return True

    def _finish(self, unit: Unit) -> None:
        """The session has replied to a command."""
        self._unit = None
        if unit.moment == DOT and self._session.state is not SMTPState.TEXT:
            self._text, self._tail = 0, b"\n"
        if unit.is_passed_on:
            self._queue([b""])
            return
        reply = b"".join(unit.collected)
        if not reply and unit.plan is None:
            return
        reply = self._styled(unit, reply)
        if unit.outcome == STORED and not any(line.startswith(b"250") for line in reply.splitlines()):
            unit.outcome = ""
        plan = unit.plan or Plan()
        if unit.outcome and (later := self._find(unit.outcome)) is not None:
            plan = plan.followed_by(later)
            self._queue(plan.before)
            if not plan.runs:
                return
        if plan.changes_reply:
            self._queue(plan.reply_steps(reply, self._script.rules.random))
        else:
            self._queue(self._at_octets(unit, reply))

    def _styled(self, unit: Unit, reply: bytes) -> bytes:
        """The reply in the style of another server, and with other capabilities."""
        if self._script.restyle is not None and not unit.is_refused:
            facts = unit.facts or self._reply_facts(unit.argument)
            reply = self._script.restyle(unit.moment, reply, facts)
        return self._script.capabilities.edit(unit.moment, reply)

    def _at_octets(self, unit: Unit, reply: bytes) -> Sequence[ActStep]:
        """The reply, changed by the first rule for one of its octets."""
        for place in self._places(unit):
            if place <= len(reply):
                plan = self._find(unit.moment, unit.argument, place)
                if plan is not None:
                    random = self._script.rules.random
                    rest = plan.reply_steps(reply[place:], random) if plan.runs else []
                    return [reply[:place], *plan.before, *rest]
        return [reply]

    def _places(self, unit: Unit) -> list[int]:
        """The octets of a reply at which a rule may act."""
        if unit.moment in ("DATA", "BDAT"):
            return []  # those of the message
        return self._script.rules.places(self._script.protocol, unit.moment, self._facts(unit.argument))

    # ------------------------------------------------------------ facts

    def _find(self, moment: str, argument: str = "", at: int | None = None) -> Plan | None:
        return self._script.rules.find(self._script.protocol, moment, self._facts(argument), at)

    def _facts(self, argument: str) -> Facts:
        return Facts(self._number, self._account, argument, self._now())

    def _reply_facts(self, argument: str) -> ReplyFacts:
        session: Any = self._session
        is_pop3 = self._script.protocol == POP3
        return ReplyFacts(
            client=self._transcript.client,
            helo=self._helo,
            verb=self._shown_verb,
            argument=argument,
            session=self._transcript.id,
            date=date_time(int(self._now())),
            logged_in=session.state is POP3State.TRANSACTION if is_pop3 else bool(session.user),
        )

    def _now(self) -> float:
        return self._script.now()

    def _event(self, text: str) -> None:
        self._transcript.event(text, self._now(), tls=self._tls)
