"""The fixture: a real mail server inside a test, for clients and for programs that send or read mail.

It runs in the process of the test or as a program of its own. It keeps its mail in memory, listens on
loopback addresses only, and shows every fault that a rule asks for. Twisted is imported with the first name
that is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailserver.testing.asynchronous import AsyncMailServer
    from mailserver.testing.message import CaughtMessage as Message
    from mailserver.testing.rule_builder import RuleBuilder
    from mailserver.testing.server import MailServer
    from mailserver.testing.sessions import Session

__all__ = ["AsyncMailServer", "MailServer", "Message", "RuleBuilder", "Session"]

_HOMES = {
    "AsyncMailServer": ("asynchronous", "AsyncMailServer"),
    "MailServer": ("server", "MailServer"),
    "Message": ("message", "CaughtMessage"),
    "RuleBuilder": ("rule_builder", "RuleBuilder"),
    "Session": ("sessions", "Session"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
