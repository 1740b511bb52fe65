"""The joint in front of the session of a stand-in for the server."""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import attrs

from mailserver.faults.acts import HANG, Ending, Pause
from mailserver.faults.capabilities import Capabilities
from mailserver.faults.rules import Rule, Rules
from mailserver.faults.script import Script
from mailserver.faults.session import ScriptedSession
from mailserver.faults.transcript import Transcript
from mailserver.testing.rule_builder import RuleBuilder, begin_rule
from tests.support.session_server import HANDSHAKE, SessionServer

AddRules = Callable[[Callable[..., RuleBuilder]], object]
"""Adds rules by a function as ``MailServer.smtp.on``."""


def script_of(protocol: str, rules: Rules | None = None) -> Script:
    """A script with these rules, whose clock stands still."""
    return Script(protocol, rules or Rules(Random(0)), Capabilities(), lambda: 0.0)


def put_joint_in_front(server: Any, script: Script) -> ScriptedSession:
    """Let the server use its session by the joint. Returns the joint."""
    joint = ScriptedSession(
        server.session, script, Transcript("session", script.protocol, "127.0.0.1", script.now())
    )
    server.session = joint
    return joint


def greeting(server: Any) -> bytes:
    """All that a server says before any command."""
    server.session.greet()
    said: bytes = server.feed(b"")
    return said


class ScriptedServer:
    """A stand-in for the server behind rules. It performs their steps at once, and tells of each.

    ``said`` has all octets and steps as one text: LF for CRLF, ``<2s>``, ``<hang>``, ``<RESET>``,
    ``<closed>``.
    """

    def __init__(self, server: SessionServer, protocol: str, rules: AddRules | Iterable[Rule] = ()) -> None:
        """``rules`` are in force before the greeting. They are copied."""
        self.server = server
        self.script = script_of(protocol)
        self.joint = put_joint_in_front(server, self.script)
        self.said = ""
        self._hangs = False
        self.add(rules)
        self.joint.greet()
        self.feed(b"")

    def add(self, rules: AddRules | Iterable[Rule]) -> None:
        """Add rules."""
        if not callable(rules):
            for rule in rules:
                self.script.rules.add(attrs.evolve(rule))
            return

        def on(moment: str, argument: str | None = None, at: int | None = None) -> RuleBuilder:
            return begin_rule(self.script.rules, self.script.protocol, moment, argument, at)

        rules(on)

    def feed(self, data: bytes) -> None:
        """Input from the client, with TLS begun where it comes. A connection that hangs drops it."""
        before, *rest = data.split(HANDSHAKE)
        self._feed(before)
        for piece in rest:
            if self.server.waits_for_tls:
                self.server.waits_for_tls = False
                self.joint.secured(self.server.tls)
                self._feed(piece)
            else:
                self._feed(HANDSHAKE + piece)

    def _feed(self, data: bytes) -> None:
        if self._hangs or self.server.waits_for_tls:
            return
        was_closed = self.joint.closed
        self.joint.receive(data)
        for _ in range(100_000):
            event = self.joint.next_event()
            self._take()
            if event is None:
                break
            match event:
                case Pause():
                    self._hangs = event == HANG
                    self.said += "<hang>" if self._hangs else f"<{event.seconds:g}s>"
                    if self._hangs:
                        return
                case Ending():
                    self.said += f"<{event.name}>"
                case _:
                    self.server.handle(event)
        else:
            raise AssertionError("the session does not come to rest")
        self._take()
        if self.joint.closed and not was_closed:
            self.said += "<closed>"

    def _take(self) -> None:
        self.said += self.joint.take_output().decode("latin-1").replace("\r\n", "\n")

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be said."""
        return self._hangs or self.said.endswith(("<RESET>", "<HALF_CLOSE>", "<closed>"))
