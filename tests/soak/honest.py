"""Honest clients of the soak: they measure how long they wait, and count what was promised to them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import attrs

from tests.soak.attacks import Aim
from tests.soak.stage import HONEST
from tests.support.e2e.server import PASSWORD

PROBE = "127.1.0.1"
SENDER = "127.1.0.2"
READER = "127.1.0.3"
BETWEEN_NOOPS = 0.02  # seconds
BETWEEN_MESSAGES = 0.2
BETWEEN_LOGINS = 1.0


@attrs.define
class Waits:
    """Seconds that honest clients waited, by what for; and the messages that were answered 250."""

    noops: list[float] = attrs.field(factory=list)
    greetings: list[float] = attrs.field(factory=list)
    messages: list[float] = attrs.field(factory=list)
    logins: list[float] = attrs.field(factory=list)
    accepted: set[str] = attrs.field(factory=set)
    troubles: list[str] = attrs.field(factory=list)


class Client:
    """One connection, spoken to command by command."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, address: tuple[str, int], source: str) -> "AsyncIterator[Client]":
        """Connect, and read the greeting. The connection is closed at the end, however the work ends.

        Otherwise a session that is cut short would keep its maildrop locked.
        """
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
        client = cls(reader, writer)
        try:
            await client.reply()
            yield client
        finally:
            writer.transport.abort()

    async def reply(self) -> bytes:
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        if not line or line[:1] in b"45" or line.startswith(b"-ERR"):
            raise ConnectionError(f"answered {line!r}")
        return line

    async def ask(self, command: bytes) -> bytes:
        self._writer.write(command + b"\r\n")
        return await self.reply()


async def probe(aim: Aim, waits: Waits) -> None:
    """NOOP after NOOP on one connection."""
    async with Client.connect(aim.smtp, PROBE) as client:
        while True:
            began = time.monotonic()
            try:
                await client.ask(b"NOOP")
            finally:
                # One that is not answered before the end counts, too.
                waits.noops.append(time.monotonic() - began)
            await asyncio.sleep(BETWEEN_NOOPS)


async def send(aim: Aim, waits: Waits) -> None:
    """A message on a connection of its own, again and again, every fifth to a list with a full member."""
    for number in range(1_000_000):
        began = time.monotonic()
        async with Client.connect(aim.smtp, SENDER) as client:
            waits.greetings.append(time.monotonic() - began)
            name = "club" if number % 5 == 0 else HONEST
            await client.ask(b"EHLO honest.example")
            await client.ask(b"MAIL FROM:<sender@honest.example>")
            await client.ask(f"RCPT TO:<{name}@example.org>".encode())
            await client.ask(b"DATA")
            await client.ask(f"Subject: soak-{number}.\r\n\r\nhello\r\n.".encode())
            waits.messages.append(time.monotonic() - began)
            waits.accepted.add(f"soak-{number}.")
            await client.ask(b"QUIT")
        await asyncio.sleep(BETWEEN_MESSAGES)


async def read(aim: Aim, waits: Waits) -> None:
    """A login with STAT, again and again."""
    while True:
        began = time.monotonic()
        async with Client.connect(aim.pop3, READER) as client:
            await client.ask(f"USER {HONEST}".encode())
            await client.ask(f"PASS {PASSWORD}".encode())
            await client.ask(b"STAT")
            await client.ask(b"QUIT")
        waits.logins.append(time.monotonic() - began)
        await asyncio.sleep(BETWEEN_LOGINS)


async def run(aim: Aim, end: float) -> Waits:
    """All of them until ``end`` (of ``time.monotonic``). A client that is refused is noted, and goes on."""
    waits = Waits()

    async def persist(client: Callable[[Aim, Waits], "asyncio.Future[None]"]) -> None:
        while time.monotonic() < end:
            try:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(client(aim, waits), max(0.1, end - time.monotonic()))
            except OSError as error:
                waits.troubles.append(f"{client.__name__}: {error}")
                await asyncio.sleep(0.1)

    await asyncio.gather(*(persist(client) for client in (probe, send, read)))  # type: ignore[arg-type]
    return waits
