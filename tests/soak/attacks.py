"""The attacks of the soak, and the process that makes them.

Each attack is a coroutine for one connection from one source address. It runs until the server closes the
connection, and is then started again. The process runs at a low priority: on a real network it would be
another machine.
"""

import asyncio
import base64
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import attrs

from mailserver.control.channel import CommandFailed
from mailserver.control.client import ask
from tests.soak.stage import LARGE, OWNER, TARGET
from tests.support.e2e.server import PASSWORD

NICE = 10
PAUSE = 0.05  # seconds between two connections of one attacker
KIB, MIB = 1024, 1024 * 1024

Write = Callable[[bytes], Awaitable[None]]


@attrs.frozen
class Aim:
    """What is attacked: the listeners, and the data directory for those with an account on the machine."""

    smtp: tuple[str, int]
    pop3: tuple[str, int]
    data: Path


@asynccontextmanager
async def session(address: tuple[str, int], source: str) -> AsyncIterator[Write]:
    """A connection whose replies are read and thrown away, so that the server never has to wait."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))

    async def read() -> None:
        while await reader.read(1 << 18):
            pass
        writer.close()

    async def write(octets: bytes) -> None:
        writer.write(octets)
        await writer.drain()
        if writer.is_closing():
            raise ConnectionResetError

    reading = asyncio.ensure_future(read())
    try:
        yield write
        await asyncio.wait([reading], timeout=30)
    finally:
        reading.cancel()
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(reading, return_exceptions=True)


def base64_of(octets: bytes) -> bytes:
    return base64.b64encode(octets)


async def pipelining(line: bytes, aim: Aim, source: str) -> None:
    """One command without end, in writes of 64 KiB."""
    chunk = line * (64 * KIB // len(line))
    async with session(aim.smtp, source) as write:
        await write(b"EHLO attack.example\r\nMAIL FROM:<a@attack.example>\r\n")
        while True:
            await write(chunk)


async def preparation(aim: Aim, source: str) -> None:
    """Passwords that grow eighteenfold when they are prepared (U+FDFA)."""
    response = base64_of(b"\0owner@example.org\0" + "\ufdfa".encode() * 3000)
    async with session(aim.smtp, source) as write:
        await write(b"EHLO attack.example\r\n")
        for _ in range(20):
            await write(b"AUTH PLAIN " + response + b"\r\n")


async def copies(aim: Aim, source: str) -> None:
    """4 MiB to 200 plus-addresses of one account."""
    async with session(aim.smtp, source) as write:
        await write(b"EHLO attack.example\r\nMAIL FROM:<a@attack.example>\r\n")
        await write(b"".join(b"RCPT TO:<%s+%d@example.org>\r\n" % (TARGET.encode(), n) for n in range(200)))
        await write(b"DATA\r\n")
        await asyncio.sleep(0.5)
        await write(b"Subject: many copies\r\n\r\n" + (b"x" * 76 + b"\r\n") * (4 * MIB // 78))
        await write(b".\r\nQUIT\r\n")


async def header_lines(aim: Aim, source: str) -> None:
    """4 MiB of very short header fields."""
    async with session(aim.smtp, source) as write:
        await write(b"EHLO attack.example\r\nMAIL FROM:<a@attack.example>\r\n")
        await write(b"RCPT TO:<%s@example.org>\r\nDATA\r\n" % TARGET.encode())
        await asyncio.sleep(0.5)
        await write(b"a:b\r\n" * (4 * MIB // 5))
        await write(b"\r\n.\r\nQUIT\r\n")


async def guesses(aim: Aim, source: str) -> None:
    """Wrong passwords, by both protocols."""
    wrong = base64_of(b"\0%s@example.org\0wrong" % OWNER.encode())
    async with session(aim.smtp, source) as write:
        await write(b"EHLO attack.example\r\n" + (b"AUTH PLAIN " + wrong + b"\r\n") * 3)
    async with session(aim.pop3, source) as write:
        await write((b"USER %s\r\nPASS wrong\r\n" % OWNER.encode()) * 3)


async def large_maildrop(name: str, command: bytes, times: int, aim: Aim, source: str) -> None:
    """One command, pipelined, on a mailbox of very many messages."""
    async with session(aim.pop3, source) as write:
        await write(b"USER %s\r\nPASS %s\r\n" % (name.encode(), PASSWORD.encode()))
        await write(command * times + b"QUIT\r\n")


async def changes(aim: Aim, source: str) -> None:
    """Accounts, aliases and lists that come and go."""

    def change(request: dict[str, object]) -> None:
        with suppress(CommandFailed):
            ask(aim.data, request)

    name = "x" + source.replace(".", "-")
    for number in itertools.count():
        address = f"{name}-{number}@example.org"
        members = [f"n{each}@example.org" for each in range(500)]
        for request in (
            {"command": "account add", "address": address},
            {"command": "list add", "address": f"list-{address}", "members": [address, *members]},
            {"command": "list remove", "address": f"list-{address}"},
            {"command": "account remove", "address": address},
        ):
            await asyncio.to_thread(change, request)  # type: ignore[arg-type]


async def reloads(aim: Aim, source: str) -> None:
    """A reload every second."""
    while True:
        await asyncio.sleep(1)
        await asyncio.to_thread(ask, aim.data, {"command": "reload"})


async def slow(aim: Aim, source: str) -> None:
    """One octet a second."""
    async with session(aim.smtp, source) as write:
        while True:
            await write(b"N")
            await asyncio.sleep(1)


LINES = {
    "RCPT": b"RCPT TO:<nobody@example.org>\r\n",
    "NOOP": b"NOOP\r\n",
    "RSET": b"RSET\r\n",
    "VRFY": b"VRFY somebody\r\n",
    "EHLO": b"EHLO attack.example\r\n",
    "wrong": b"?\r\n",
    "short": b"\r\n",
}

LARGE_MAILDROPS = (
    ("RSET", b"RSET\r\n", 2000),
    ("UIDL", b"UIDL\r\n", 3),
    ("LIST", b"LIST\r\n", 3),
    ("TOP", b"TOP 1 0\r\n", 7222),
)

Attack = Callable[[Aim, str], Awaitable[None]]


def attacks() -> Iterator[tuple[str, Attack, int]]:
    """Each attack with its name, and on how many connections it is made."""
    for name, line in LINES.items():
        yield f"pipelining {name}", partial(pipelining, line), 7
    yield "preparation", preparation, 20
    yield "copies", copies, 2
    yield "header lines", header_lines, 1
    yield "guesses", guesses, 20
    for (name, command, times), mailbox in zip(LARGE_MAILDROPS, LARGE, strict=True):
        yield f"large maildrop {name}", partial(large_maildrop, mailbox, command, times), 1
    yield "changes", changes, 1
    yield "reloads", reloads, 1
    yield "slow", slow, 20


def sources() -> Iterator[str]:
    """One source address for each connection, so that no limit for one attack applies to another."""
    for number in itertools.count():
        yield f"127.2.{number // 250}.{number % 250 + 1}"


async def attack_until(aim: Aim, end: float) -> dict[str, int]:
    """Make all attacks at once until ``end`` (of ``time.monotonic``); how often each was begun."""
    begun: dict[str, int] = {}

    async def persist(name: str, attack: Attack, source: str) -> None:
        while time.monotonic() < end:
            begun[name] = begun.get(name, 0) + 1
            with suppress(OSError, EOFError, asyncio.TimeoutError, CommandFailed):
                await asyncio.wait_for(attack(aim, source), max(0.1, end - time.monotonic()))
            await asyncio.sleep(PAUSE)

    places = sources()
    await asyncio.gather(
        *(persist(name, attack, next(places)) for name, attack, count in attacks() for _ in range(count))
    )
    return begun


def run(aim: Aim, end: float) -> dict[str, int]:
    """For a process of its own."""
    os.nice(NICE)
    return asyncio.run(attack_until(aim, end))
