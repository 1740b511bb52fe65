"""Many at once: connections of one address and of ten thousand, halves of messages, endless NOOPs."""

import ipaddress
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import attrs

from mailserver.config.keys.limits import LimitsSection
from mailserver.queue.content import AT_ONCE, IN_MEMORY_OF_ALL
from tests.support.attacks.flood import flooding
from tests.support.attacks.memory import ROOM, most_memory
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.limited import SmtpFrom
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.processes import reactor_seconds
from tests.support.e2e.server import Makes, Server, configuration, wait_until
from tests.support.net.fakes import LOST, POP3Port, SMTPPort, connect
from tests.support.net.limits import only_limits

OUR_OWN = ipaddress.ip_network("203.0.113.0/24")
DEFAULTS = only_limits(**attrs.asdict(attrs.evolve(LimitsSection(), exempt=(OUR_OWN,)), recurse=False))


def test_500_connections_of_one_address() -> None:
    """As the server is shipped: 50 are served, the others are told why not, and nobody else notices."""
    port = SMTPPort(limits=DEFAULTS)
    clients = [connect(port.factory, "192.0.2.66") for _ in range(500)]
    said = [wire.said() for _, wire in clients]
    assert said[:50] == [port.greeting] * 50
    assert {answer[:10] for answer in said[50:]} == {b"421 4.7.0 "}
    assert all(wire.disconnecting for _, wire in clients[50:])
    other, wire = port.client(b"NOOP\r\n", "192.0.2.1")
    assert wire.said() == b"250 2.0.0 Ok\r\n"
    for connection, _ in [*clients, (other, wire)]:
        connection.connectionLost(LOST)
    assert port.is_clean


def test_as_many_addresses_as_there_may_be_on_all_ports() -> None:
    smtp, pop3 = SMTPPort(limits=attrs.evolve(DEFAULTS, connections=1000)), POP3Port()
    pop3.factory.context = smtp.factory.context
    clients = []
    for number in range(1000):
        port = pop3 if number % 2 else smtp
        clients.append(connect(port.factory, f"10.0.{number >> 8}.{number & 255}"))
    assert not any(wire.disconnecting for _, wire in clients)
    late, wire = connect(smtp.factory, "192.0.2.1")
    assert wire.said().startswith(b"421 4.7.0 ") and wire.disconnecting
    late.connectionLost(LOST)
    late, wire = connect(pop3.factory, "192.0.2.1")
    assert wire.said().startswith(b"-ERR [SYS/TEMP] ") and wire.disconnecting
    late.connectionLost(LOST)
    _, wire = smtp.client(b"NOOP\r\n", "203.0.113.1")
    assert wire.said() == b"250 2.0.0 Ok\r\n", "our own people are served all the same"
    clients[0][0].connectionLost(LOST)
    _, wire = smtp.client(b"NOOP\r\n", "192.0.2.1")
    assert wire.said() == b"250 2.0.0 Ok\r\n"


def test_100_messages_that_stop_half_way(make_server: Makes) -> None:
    """4 MiB each: most of it lies on the disk, others are served, and nothing is left of it.

    Half of them are over the limit, and are told so when they end after all.
    """
    tables = f"[smtp]\nmax_message_size = {4 << 20}\n"
    server = make_server(configuration(accounts=["alice"], tables=tables)).start()
    count, piece = 100, (b"x" * 998 + b"\r\n") * 1048  # an MiB, nearly
    with ExitStack() as stack:
        before = most_memory(server)
        sessions = [stack.enter_context(Smtp(server.smtp)) for _ in range(count)]
        for number, session in enumerate(sessions):
            session.begin("a@b.example", "alice@example.org")
            session.send(piece * (4 + number % 2))
        with Smtp(server.smtp) as other:
            other.expect(b"NOOP", b"250")
            other.begin("a@b.example", "alice@example.org")
            other.expect(b"Subject: x\r\n\r\n.", b"250")
        for session in sessions[1::2]:
            session.expect(b".", b"552 5.3.4 ")
        assert most_memory(server) - before < IN_MEMORY_OF_ALL + count * AT_ONCE + ROOM
    wait_until(lambda: not unfinished(server), "the end of what was begun")
    assert len(Mailbox(server, "alice").messages()) == 1


def unfinished(server: Server) -> list[str]:
    """What lies in the folder for it, and what the server has open below its data without a name."""
    found = [str(path) for path in (server.data / "tmp").iterdir()]
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            name = str(descriptor.readlink())
            if name.startswith(str(server.data)) and name.endswith(" (deleted)"):
                found.append(name)
    return found


def test_noops_without_end(make_server: Makes) -> None:
    """Each is answered, in its place; neither they nor the replies pile up.

    While 30 clients do that, a command of another address waits for 100 ms of the reactor's work at most. One
    in four may wait longer. See also ``test_fairness``.
    """
    server = make_server(configuration(accounts=["alice"], tables="")).start()
    count, step = 200_000, 50_000
    answer, stalls = b"250 2.0.0 Ok\r\n", []
    with Smtp(server.smtp) as session, SmtpFrom(server.smtp, "127.0.0.2") as probe:
        before = most_memory(server)
        with flooding(server.smtp, 30, b"", b"NOOP\r\n"):
            for _ in range(20):
                began = reactor_seconds(server)
                probe.expect(b"NOOP", b"250 2.0.0")
                stalls.append(reactor_seconds(server) - began)
                time.sleep(0.01)
        assert sorted(stalls)[15] < 0.1 and max(stalls) < 0.5, stalls
        for _ in range(count // step):
            session.send(b"NOOP\r\n" * step)
            assert session.file.read(step * len(answer)) == answer * step
        session.expect(b"QUIT", b"221")
    assert most_memory(server) - before < ROOM + 30 * (1 << 20)
