"""A world in one process and in virtual time: our whole server, a DNS zone, and far sides in 127/8.

Port 25 is nobody's but root's, so connections to it go to another port, the same for all far sides.
"""

import smtplib
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import Message
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThreadPool

from mailserver.app.build import make_service
from tests.support.dns_zone import DnsZone
from tests.support.e2e.server import configuration
from tests.support.fakes import stand_in
from tests.support.far_sides.far_side import FarSide
from tests.support.virtual_time import VirtualTimeReactor, virtual_time

SENDER = "alice@example.org"
TEXT = b"From: alice@example.org\r\nSubject: to the world\r\n\r\n.\r\n..x\r\nend\r\n"
LISTEN = (("smtp", "tcp:0:interface=127.0.0.1"),)
DAY = 86400.0
TTL = 864_000  # seconds; queries are what takes the longest


def free_port() -> int:
    """A port that is free at all addresses."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


class World:
    """The server has the accounts alice, bob and carol; all clients may relay."""

    def __init__(self, folder: Path, reactor: VirtualTimeReactor, zone: DnsZone, tables: str) -> None:
        self.reactor = reactor
        self.zone = zone
        self.sides: dict[str, FarSide] = {}
        self._folder = folder
        self._port = free_port()
        self._addresses = iter(f"127.0.{number // 250 + 1}.{number % 250 + 1}" for number in range(10_000))
        reactor.ports[25] = self._port
        path = folder / "mailserver.toml"
        path.write_text(configuration(listen=LISTEN, tables=f'[dns]\nservers = ["{zone.address}"]\n{tables}'))
        self._service = make_service(stand_in(reactor), path)
        self._service.startService()

    def stop(self) -> None:
        """Stop our server."""
        self.reactor.wait(self._service.stopService())

    def check(self) -> None:
        """No far side was told what no client may say."""
        faults = [fault for far in self.sides.values() for fault in far.faults]
        assert not faults, faults

    # The others

    def host(self, name: str, *, listening: bool = True, **options: Any) -> FarSide:
        """A far side with this host name, and its address in DNS. If it is not ``listening``, connections to
        it are refused."""
        address = next(self._addresses)
        self.zone.add(f"{name} {TTL} A {address}")
        far = self.sides[name] = FarSide(reactor=self.reactor, name=name, **options)
        if listening:
            self.reactor.listenTCP(self._port, far, 200, address)
        return far

    def domain(self, name: str, **options: Any) -> FarSide:
        """A far side that is the mail host of a domain."""
        self.zone.add(f"{name} {TTL} MX 10 mx.{name}")
        return self.host(f"mx.{name}", **options)

    # Our server

    def send(
        self, *to: str, sender: str = SENDER, content: bytes = TEXT, options: Sequence[str] = ()
    ) -> Mapping[str, tuple[int, bytes]]:
        """Send one message, with ``options`` of MAIL; the recipients that were refused in the session, with
        code and text."""
        [port] = [one["port"] for one in self._service.where()]

        def in_thread() -> Mapping[str, tuple[int, bytes]]:
            with smtplib.SMTP("127.0.0.1", int(str(port)), timeout=20) as client:
                try:
                    return client.sendmail(sender, to, content, options)
                except smtplib.SMTPRecipientsRefused as refused:
                    return refused.recipients

        return self.reactor.wait(deferToThreadPool(self.reactor, self.reactor.getThreadPool(), in_thread))

    def mailbox(self, name: str = "alice") -> list[Message]:
        """The messages in a mailbox of ours."""
        found = (self._folder / "data/mail/example.org" / name).glob("new/*")
        return [message_from_bytes(path.read_bytes(), policy=policy.SMTP) for path in found]

    def bounces(self, name: str = "alice") -> dict[str, list[str]]:
        """The statuses in failure reports, by recipient: one for each report."""
        found: dict[str, list[str]] = {}
        for report in self.mailbox(name):
            for part in report.walk():
                if part.get("Action", "").strip().lower() == "failed":
                    recipient = part["Final-Recipient"].partition(";")[2].strip()
                    found.setdefault(recipient, []).append(part["Status"].split()[0])
        return found

    def copies(self) -> Counter[str]:
        """How often each recipient has a message."""
        return Counter(
            recipient for far in self.sides.values() for one in far.kept for recipient in one.accepted
        )


@contextmanager
def world(folder: Path, tables: str = "", relay: str = "allow_private = true") -> Iterator[World]:
    """A world; ``tables`` and ``relay`` are for the configuration."""
    with virtual_time() as reactor, DnsZone() as zone:
        made = World(folder, reactor, zone, f"[relay]\n{relay}\n{tables}")
        try:
            yield made
        finally:
            made.stop()
        made.check()
