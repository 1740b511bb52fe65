"""The workloads and their measurements."""

import time
from collections.abc import Callable

import attrs

from . import pop3load, processes
from .errors import BenchError
from .meter import SETTLE, Figures, Meter
from .pop3load import Kind, Load
from .scale import LARGE, SMALL, Scale
from .servers import Server
from .smtpload import copies, idle, say, send

MB = 1e6
SENDERS = 4

# local parts; the last three are for smtp-source -r, which puts numbers before them
FEW = [f"few{number}" for number in range(SENDERS)]
MANY = [f"many{number}" for number in range(SENDERS)]
BIG = [f"big{number}" for number in range(SENDERS)]
SHARED, FILLED, BULKY = "shared", "filled", "bulky"


def users(scale: Scale) -> list[str]:
    """The local parts of all mailboxes that the workloads use."""
    numbered = [
        *copies(SHARED, scale.recipients),
        *copies(FILLED, scale.mailboxes),
        *copies(BULKY, SENDERS),
    ]
    return [*FEW, *MANY, *BIG, *numbered]


@attrs.frozen
class Workload:
    """``title`` is its name in the table. ``run`` performs it on a running server and checks the result."""

    name: str
    title: Callable[[Scale], str]
    run: Callable[[Server, Scale], Figures]


def verify(server: Server, names: list[str]) -> None:
    """Check that each mailbox has each sent message once. Raises BenchError."""
    for user, found in pop3load.counts(server.pop3, names).items():
        if found != server.sent[user]:
            raise BenchError(f"{user}: {server.sent[user]} messages were sent, STAT reports {found}")


def receive_one(server: Server, scale: Scale) -> Figures:
    with Meter(server) as meter:
        seconds = send(server, FEW, scale.messages, SMALL, scale.connections)
    verify(server, FEW)
    return {"delivered/s": scale.messages / seconds, **meter.figures("message", scale.messages)}


def receive_many(server: Server, scale: Scale) -> Figures:
    messages = scale.connections * scale.each
    with Meter(server) as meter:
        seconds = send(server, MANY, messages, SMALL, scale.connections, stay=True)
    verify(server, MANY)
    return {"delivered/s": messages / seconds, **meter.figures("message", messages)}


def receive_shared(server: Server, scale: Scale) -> Figures:
    copied = scale.shared * scale.recipients
    with Meter(server) as meter:
        seconds = send(server, [SHARED], scale.shared, SMALL, SENDERS, recipients=scale.recipients)
    verify(server, copies(SHARED, scale.recipients))
    return {"delivered/s": copied / seconds, **meter.figures("copy", copied)}


def receive_large(server: Server, scale: Scale) -> Figures:
    with Meter(server) as meter:
        seconds = send(server, BIG, scale.large, LARGE, SENDERS)
    verify(server, BIG)
    return {"MB/s": scale.large * LARGE / MB / seconds, **meter.figures("message", scale.large)}


def fill(server: Server, scale: Scale) -> list[str]:
    """Fill the mailboxes for POP3, once per server."""
    names = copies(FILLED, scale.mailboxes)
    if not server.sent.get(names[0]):
        send(server, [FILLED], scale.depth, SMALL, SENDERS, stay=True, recipients=scale.mailboxes)
    return names


def pop3_first(server: Server, scale: Scale) -> Figures:
    names = fill(server, scale)
    server.restart()
    with Meter(server) as meter:
        load = pop3load.play(server.pop3, names, Kind.CHECK, scale.depth)
    return {"sessions/s": len(names) / load.seconds, **meter.figures("session", len(names))}


def pop3_check(server: Server, scale: Scale) -> Figures:
    names = fill(server, scale)
    pop3load.play(server.pop3, names, Kind.CHECK, scale.depth)
    sessions = len(names) * scale.sessions
    with Meter(server) as meter:
        load = pop3load.play(server.pop3, names, Kind.CHECK, scale.depth, scale.sessions)
    return {
        "sessions/s": sessions / load.seconds,
        **meter.figures("session", sessions),
        "p99, ms a session": load.p99(),
    }


def _retrieved(load: Load, meter: Meter) -> Figures:
    messages = len(load.latencies)
    return {
        "messages/s": messages / load.seconds,
        **meter.figures("message", messages),
        "p99, ms a RETR": load.p99(),
    }


def pop3_retr(server: Server, scale: Scale) -> Figures:
    names = fill(server, scale)
    with Meter(server) as meter:
        load = pop3load.play(server.pop3, names, Kind.RETRIEVE, scale.depth)
    verify(server, names)
    return _retrieved(load, meter)


def pop3_drain(server: Server, scale: Scale) -> Figures:
    names = fill(server, scale)
    with Meter(server) as meter:
        load = pop3load.play(server.pop3, names, Kind.DRAIN, scale.depth)
    server.sent.update(dict.fromkeys(names, 0))
    verify(server, names)
    return _retrieved(load, meter)


def pop3_large(server: Server, scale: Scale) -> Figures:
    names = copies(BULKY, SENDERS)
    send(server, [BULKY], scale.large_depth, LARGE, 1, stay=True, recipients=SENDERS)
    verify(server, names)
    with Meter(server) as meter:
        load = pop3load.play(server.pop3, names, Kind.RETRIEVE, scale.large_depth, 2)
    figures = {"MB/s": load.octets / MB / load.seconds, **_retrieved(load, meter)}
    del figures["messages/s"]
    return figures


def idle_connections(server: Server, scale: Scale) -> Figures:
    # memory that earlier work has freed must not hide the memory of the connections
    server.restart()
    connections = [idle(server.smtp)]  # not counted, because the server loads code for the first one
    try:
        time.sleep(SETTLE)
        before = processes.memory(server.roots())
        for _ in range(scale.idle):
            connections.append(idle(server.smtp))
        time.sleep(SETTLE)
        after = processes.memory(server.roots())
        for connection in connections:
            say(connection, b"NOOP\r\n", b"250")
            say(connection, b"QUIT\r\n", b"221")
    finally:
        for connection in connections:
            connection.close()
    return {"KiB a connection": (after - before) / scale.idle}


WORKLOADS = (
    Workload(
        "receive-1",
        lambda scale: f"receive 4 KiB, {scale.connections} connections, 1 message each",
        receive_one,
    ),
    Workload(
        "receive-many",
        lambda scale: f"receive 4 KiB, {scale.connections} connections, {scale.each} messages each",
        receive_many,
    ),
    Workload(
        "receive-shared",
        lambda scale: f"receive 4 KiB for {scale.recipients} recipients each, {SENDERS} connections",
        receive_shared,
    ),
    Workload("receive-large", lambda scale: f"receive 10 MiB, {SENDERS} connections", receive_large),
    Workload(
        "pop3-first",
        lambda scale: f"first POP3 session after a restart; {scale.mailboxes} mailboxes of {scale.depth:,}",
        pop3_first,
    ),
    Workload(
        "pop3-check",
        lambda scale: f"POP3 login, STAT, LIST, UIDL, QUIT; {scale.mailboxes} mailboxes of {scale.depth:,}",
        pop3_check,
    ),
    Workload(
        "pop3-retr",
        lambda scale: f"POP3 RETR of {scale.mailboxes} x {scale.depth:,} messages of 4 KiB",
        pop3_retr,
    ),
    Workload("pop3-drain", lambda scale: "the same with DELE", pop3_drain),
    Workload("pop3-large", lambda scale: "POP3 RETR of 10 MiB messages", pop3_large),
    Workload(
        "idle",
        lambda scale: f"idle SMTP connections after EHLO, {scale.idle}",
        idle_connections,
    ),
)
