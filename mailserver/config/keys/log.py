"""The section [log]: the form of log lines, and the events that are kept."""

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs

from mailserver.config.schema.kinds import Context, ParsedText
from mailserver.config.schema.problems import InvalidValue, KeyProblem, show
from mailserver.config.schema.scalars import Choice, Integer, Size
from mailserver.config.schema.tables import key

LogFormat = Literal["text", "json", "journal", "syslog"]
# server = ( "udp:" / "tcp:" ) ( host / "[" IPv6 "]" ) ":" port
_SERVER = re.compile(
    r"(?P<protocol>udp|tcp):(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]]+)):(?P<port>[0-9]{1,5})"
)


@attrs.frozen
class SyslogServer:
    """A syslog server in the network. ``protocol`` is "udp" or "tcp"."""

    protocol: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}:{host}:{self.port}"


def _destination(text: str, context: Context) -> SyslogServer | str:
    if not text or (text.startswith("/") and "\0" not in text):
        return text
    match = _SERVER.fullmatch(text)
    if match is None:
        raise InvalidValue(f"invalid destination {show(text)}")
    if not 0 < int(match["port"]) < 2**16:
        raise InvalidValue(f"invalid port in {show(text)}", "a port from 1 to 65535")
    return SyslogServer(match["protocol"], match["ipv6"] or match["host"], int(match["port"]))


_DESTINATION = ParsedText(
    "destination",
    _destination,
    'the path of a socket, or for syslog a server such as "udp:192.0.2.1:514" or "tcp:[2001:db8::1]:601"',
)


@attrs.frozen(kw_only=True)
class LogSection:
    """How events are written."""

    format: LogFormat = key(
        Choice[LogFormat](get_args(LogFormat)),
        "Format of an event in the log: a line of text for people (text), or a JSON object on one line "
        "(json). journal and syslog send each event to the journal of systemd, with its fields, or to a "
        "syslog server.",
        default="text",
    )
    destination: SyslogServer | str = key(
        _DESTINATION,
        "Destination of the formats journal and syslog: a unix socket, or a syslog server.",
        default="",
        note="/run/systemd/journal/socket for journal, /dev/log for syslog",
    )
    trace_days: int = key(
        Integer(0),
        "Days that the server keeps the events of messages for mailserver trace; 0: it keeps none.",
        default=14,
    )
    trace_size: int = key(
        Size("1 MiB"),
        "Maximum size of the kept events, in octets. The oldest ones are removed.",
        default="256 MiB",
    )


def check_log(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    format, destination = values.get("format"), values.get("destination")
    if not destination or format is None:
        return
    where = context.below("destination").key
    if format in ("text", "json"):
        text = f'format "{format}" has no destination; allowed: only with format "journal" or "syslog"'
        yield KeyProblem(where, text)
    elif format == "journal" and isinstance(destination, SyslogServer):
        yield KeyProblem(where, 'the journal is no server; allowed: the path of a socket, or format "syslog"')
