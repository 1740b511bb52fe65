"""The base class of events, the meaning of their fields, and how an event is reported."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

# The meaning of each field, the same in all events.
FIELDS: Mapping[str, str] = {
    "action": "what the server does with the message: accept, defer or reject",
    "account": "the account of the client; empty without a login",
    "answer": "the answer of DNS",
    "arc": "the result for the chain of forwarders (ARC); empty if it was not needed",
    "attempt": "the number of this delivery attempt; the first is 1",
    "avatar": "what an external checker returned",
    "addressee": "the address that the bounce or report goes to, in angle brackets",
    "bounce": "the id of the bounce or report",
    "check": "the check: SPF, DKIM, DMARC, ARC, or results for all together",
    "checker": "the class of an external checker",
    "client": "the IP address of the client; empty for a unix socket",
    "count": "the number of things that the event is about",
    "damaged": "the number of unreadable messages, which are set aside",
    "dkim": "the results of the DKIM signatures with their domains; empty if they were not checked",
    "dmarc": "the DMARC result, the domain in From, and the policy to apply; empty if it was not checked",
    "domain": "the domain of other servers",
    "domains": "the domains whose mail is fetched, separated by commas",
    "error": "the error, as the system or the library reports it",
    "found": "the number of copies found in their mailboxes",
    "helo": "the argument of HELO or EHLO of the client",
    "host": "the other server, with its address; empty if this server decided",
    "id": "the id of the message",
    "ident": "the id of the message in another server",
    "key": "the configuration key",
    "line": "a line that another process has written",
    "limit": "the maximum that the system allows",
    "listeners": "the addresses that the server listens on",
    "mailbox": "the address of one mailbox",
    "mailboxes": "the addresses of the mailboxes, the first 100",
    "mechanism": "the SASL mechanism or the login command",
    "mode": "the mode of the policy: enforce, testing or none",
    "name": "the name of the thing that the event is about",
    "names": "the host names of the certificate or of the policy",
    "origin": "the IP address of the client that another server got the message from",
    "path": "the path of the file or folder",
    "peer": "the number of the other worker",
    "pid": "the id of the process",
    "port": "the listening address",
    "protocol": "the protocol of the session: smtp or pop3",
    "proxy": "the IP address of the proxy that speaks for the client",
    "reason": "the reason, in words",
    "recipients": "the addresses of the recipients, the first 100",
    "repair": "what a repair would do",
    "reply": "the last reply of the other server; empty without one",
    "row": "the number of the message in the database of the spool",
    "rule": "the configuration key, or the part of the server, that decided",
    "sender": "the reverse-path, in angle brackets",
    "score": "the sum of the points of the client",
    "seconds": "a time in seconds",
    "session": "the id of the connection",
    "size": "the size of the message as received, in octets",
    "spf": "the SPF result, and the domain that was checked; empty if it was not checked",
    "subject": "the subject of a question between workers",
    "synced": "the number of messages synced to their mailboxes",
    "tls": 'the version and the cipher of TLS, or "no TLS"',
    "unsynced": "the number of messages that could not be synced",
    "until": "the end of the validity period",
    "user": "the user name or the address given for the login",
    "verdict": "what the server does with the message: accepted, kept aside, deferred or rejected",
    "waiting": "the number of messages that wait for another attempt",
    "what": "the rejected sender, recipient or command",
    "worker": "the number of the worker",
    "written": "the number of copies written again",
    "zone": "the DNS zone of a list of client addresses",
    "zones": "the DNS zones of lists of client addresses, separated by commas",
}

Level = Literal["debug", "info", "warn", "error", "critical"]


@attrs.frozen(slots=False, kw_only=True)
class Event:
    """Base class of events. The fields of a subclass are the fields of its log lines.

    ``text`` is the sentence in the log, with fields in braces as for ``str.format``. A class without
    a text is a base of others, and is never reported.
    """

    text: ClassVar[str] = ""
    level: ClassVar[Level] = "info"
    of_message: ClassVar[bool] = False  # whether it belongs to one message, and has its id
    _constants: ClassVar[LogEvent]

    def __init_subclass__(cls) -> None:
        # Computed once per class: a busy server reports thousands of events a second.
        cls.of_message = cls.of_message or "id" in vars(cls).get("__annotations__", ())
        cls._constants = {
            "log_format": cls.text,
            "log_level": LogLevel.lookupByName(cls.level),
            "log_namespace": f"mailserver.{cls.__name__}",
        }


_E = TypeVar("_E")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def event(cls: type[_E]) -> type[_E]:
    """Make a class of events frozen, with keyword arguments only."""
    return attrs.frozen(slots=False, kw_only=True)(cls)


def observe(observer: ILogObserver) -> None:
    """Call the observer with each event from now on."""
    globalLogPublisher.addObserver(observer)


def stop_observing(observer: ILogObserver) -> None:
    """Call the observer no more."""
    globalLogPublisher.removeObserver(observer)


def report(what: Event, failure: Failure | None = None) -> None:
    """Send an event to the observers of ``twisted.logger``, with the failure that caused it.

    Safe to call from any thread. Raises nothing.
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
