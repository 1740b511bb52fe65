"""The base class of events, the meaning of their fields, and how an event is reported."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

import attrs
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

# What a field means, in every event that has it.
FIELDS: Mapping[str, str] = {
    "account": "the account that the client has logged in to; empty without a login",
    "attempt": "the number of this delivery attempt; the first is 1",
    "avatar": "what an external checker returned",
    "bounce": "the id of the bounce",
    "checker": "the class of an external checker",
    "client": "the IP address of the client; empty for a unix socket",
    "count": "how many",
    "damaged": "how many messages cannot be read and are set aside",
    "error": "the error, as the system or the library gives it",
    "found": "how many copies are in their mailboxes",
    "id": "the id of the message",
    "key": "the configuration key",
    "limit": "the most that the system allows",
    "listeners": "the addresses that the server listens on",
    "mailbox": "the address of one mailbox",
    "mailboxes": "the addresses of the mailboxes, the first 100",
    "mechanism": "the SASL mechanism or the login command",
    "name": "the name of the thing that the event is about",
    "names": "the host names of the certificate",
    "path": "the path of the file or folder",
    "port": "the listening address",
    "reason": "why, in words",
    "recipients": "the addresses of the recipients, the first 100",
    "repair": "what `mailserver verify --repair` would do",
    "row": "the number of the message in the database of the spool",
    "rule": "the key that decided, or the part of the server",
    "sender": "the reverse-path, in angle brackets",
    "session": "the id of the connection",
    "size": "the size of the message as received, in octets",
    "synced": "how many messages are synced to their mailboxes",
    "unsynced": "how many messages could not be synced",
    "until": "the end of the period of validity",
    "user": "the name or the address that the client has given for the login",
    "waiting": "how many messages wait for another attempt",
    "what": "what the client has asked for",
    "written": "how many copies are written again",
}

Level = Literal["debug", "info", "warn", "error", "critical"]


@attrs.frozen(slots=False, kw_only=True)
class Event:
    """One thing that happens. The fields of a subclass are those of its lines in the log.

    ``text`` is the sentence in the log, with fields in braces as for ``str.format``.
    """

    text: ClassVar[str]
    level: ClassVar[Level] = "info"
    _constants: ClassVar[LogEvent]

    def __init_subclass__(cls) -> None:
        # What is the same for each event of a class is made once: a busy server reports thousands a second.
        cls._constants = {
            "log_format": cls.text,
            "log_level": LogLevel.lookupByName(cls.level),
            "log_namespace": f"mailserver.{cls.__name__}",
        }


_E = TypeVar("_E")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def event(cls: type[_E]) -> type[_E]:
    """Makes a frozen class of an event."""
    return attrs.frozen(slots=False, kw_only=True)(cls)


def report(what: Event, failure: Failure | None = None) -> None:
    """Give an event to the observers of ``twisted.logger``, with the failure that caused it.

    Any thread may report. Raises nothing.
    """
    record: dict[str, Any] = {
        **what._constants,
        **vars(what),
        "log_event": what,
        "log_time": time.time(),
    }
    if failure is not None:
        record["log_failure"] = failure
    globalLogPublisher(record)
