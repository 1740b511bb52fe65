"""Log messages for a syslog server.

A unix socket, such as /dev/log, gets the form that syslog(3) writes (RFC 3164 without the hostname). UDP
(RFC 5426) and TCP, with octet counting (RFC 6587 section 3.4.1), get RFC 5424:

    SYSLOG-MSG = "<" PRI ">1 " TIMESTAMP SP HOSTNAME SP "mailserver" SP PROCID SP MSGID SP "-" SP MSG

MSGID is the class of the event. The facility is mail.
"""

import errno
import os
import socket
import time
from contextlib import suppress

import attrs
from twisted.logger import LogEvent

from mailserver.config.keys.log import SyslogServer
from mailserver.errors import one_line
from mailserver.events.base import Event
from mailserver.logs.journald import IDENTIFIER, MAIL, connect_datagram, priority
from mailserver.logs.lines import text_and_traceback, utc

SOCKET = "/dev/log"
MAX_OCTETS = 8192  # of a message; longer ones are cut
CONNECT_SECONDS = 5.0


@attrs.frozen
class SyslogForm:
    """Makes the messages. ``hostname`` is that of the server. ``local``: the form for a unix socket."""

    hostname: str
    local: bool

    def message(self, event: LogEvent) -> bytes | None:
        """An event as a message; None if it has no text."""
        text, traceback = text_and_traceback(event)
        if not text and not traceback:
            return None
        text = one_line("\n".join([text, traceback]) if traceback else text)
        what = event.get("log_event")
        kind = type(what).__name__ if isinstance(what, Event) else ""
        pri, when = MAIL * 8 + priority(event), event.get("log_time") or time.time()
        if self.local:
            name = f"{kind}: " if kind else ""
            stamp = time.strftime("%b %e %H:%M:%S", time.localtime(when))
            message = f"<{pri}>{stamp} {IDENTIFIER}[{os.getpid()}]: {name}{text}"
        else:
            message = (
                f"<{pri}>1 {utc(when)} {self.hostname} {IDENTIFIER} {os.getpid()} {kind or '-'} - {text}"
            )
        return _cut(message.encode("utf-8", "backslashreplace"))


def _cut(octets: bytes) -> bytes:
    if len(octets) <= MAX_OCTETS:
        return octets
    return octets[:MAX_OCTETS].decode("utf-8", "ignore").encode()


def connect_syslog(to: SyslogServer | str) -> socket.socket:
    """A socket that is connected to a server, or to a unix socket. Blocks; raises ``OSError``."""
    if isinstance(to, str):
        try:
            return connect_datagram(to)
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
        return _connected(socket.AF_UNIX, socket.SOCK_STREAM, to)
    kind = socket.SOCK_DGRAM if to.protocol == "udp" else socket.SOCK_STREAM
    failed: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(to.host, to.port, type=kind):
        try:
            return _connected(family, kind, address)
        except OSError as error:
            failed = error
    raise failed or OSError(errno.EADDRNOTAVAIL, "no address")


def _connected(family: int, kind: int, address: object) -> socket.socket:
    connected = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        connected.settimeout(CONNECT_SECONDS)
        connected.connect(address)  # type: ignore[arg-type]
        if kind == socket.SOCK_STREAM:
            # A dead server is noticed within a minute or two.
            with suppress(OSError):
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        connected.close()
        raise
    return connected


def send_to_syslog(to: socket.socket, message: bytes) -> bytes:
    """Send a message, or the rest of one. Returns what is left. Raises ``OSError``."""
    try:
        return message[to.send(message) :]
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return b""


def framed(message: bytes) -> bytes:
    """A message for TCP."""
    return b"%d %s" % (len(message), message)
