"""The joint in front of the session of a stand-in for the server."""

from random import Random
from typing import Any

from mailserver.faults.capabilities import Capabilities
from mailserver.faults.rules import Rules
from mailserver.faults.script import Script
from mailserver.faults.session import ScriptedSession
from mailserver.faults.transcript import Transcript


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
