"""A server whose limits a test sets by reloads, and clients that have addresses of their own.

Limits do not count 127.0.0.1 there; the clients that are counted are at other addresses of 127/8.
"""

import base64
import json
import signal
import socket
from pathlib import Path
from typing import Any

from tests.support.e2e.dialogue import SECONDS, Dialogue, Pop3, Smtp
from tests.support.e2e.server import PASSWORD, ROUTES, Server, configuration, launch_forked_twistd, wait_until

# More clients come at once than a port keeps waiting otherwise.
PORT = "tcp:0:interface=127.0.0.1:backlog=1024"
LISTEN = (("smtp", PORT), ("submission", PORT), ("pop3", PORT))


class FromElsewhere(Dialogue):
    """A dialogue whose client has another address."""

    def __init__(self, address: tuple[str, int], source: str) -> None:
        self.socket = socket.create_connection(address, SECONDS, (source, 0))
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply()


class SmtpFrom(FromElsewhere, Smtp):
    """SMTP from elsewhere."""


class Pop3From(FromElsewhere, Pop3):
    """POP3 from elsewhere."""


def credentials(name: str, password: str = PASSWORD) -> bytes:
    """The response of PLAIN (RFC 4616)."""
    return base64.b64encode(f"\0{name}@example.org\0{password}".encode())


class LimitedServer(Server):
    """A server whose limits each test sets as it needs them, by a reload; its log is in JSON."""

    def __init__(self, directory: Path, **options: Any) -> None:
        """``options`` are those of :func:`configuration`, where they are other ones."""
        self._options = options
        self._hosts = 1
        self._since = 0
        super().__init__(directory, self._text(), launch_forked_twistd)

    def _text(
        self, limits: str = "", *, smtp: str = "", pop3: str = "", tables: str = "", **options: Any
    ) -> str:
        sections = [
            '[log]\nformat = "json"',
            "[smtp]\nplaintext_auth = true",
            smtp,
            '[limits]\nexempt = ["127.0.0.1"]',
            limits,
            tables,
            self._options.get("tables", ROUTES),
        ]
        top = 'allow_root = true\nstop_grace = "0s"'  # some of the clients here never leave
        kept = {"top": top, "listen": LISTEN, **self._options, **options}
        return configuration(**{**kept, "pop3": pop3, "tables": "\n".join(sections)})

    def limit(self, limits: str = "", **options: Any) -> None:
        """Put these ``[limits]`` in force, and what else a test wants; forget the events so far."""
        self.configure(self._text(limits, **options))
        self._since = len(self.log)
        self.signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded" in self.log[self._since :], "the reload")

    def hosts(self, count: int) -> list[str]:
        """Addresses that no client had before."""
        first, self._hosts = self._hosts + 1, self._hosts + count
        return [f"127.0.{number >> 8}.{number & 255}" for number in range(first, first + count)]

    def events(self, rule: str = "") -> list[dict[str, Any]]:
        """What the log has told since the last reload, of a rule or of everything."""
        found = [json.loads(line) for line in self.log[self._since :].splitlines()]
        return [event for event in found if rule in ("", event.get("rule"))]
