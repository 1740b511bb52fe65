"""A server that runs out of file descriptors: it stops accepting, goes on serving, and recovers.

The first server is crowded by clients up to its limit. From the second every further descriptor is
taken away while sessions are open, so that each ``open`` and ``accept`` fails with EMFILE.
"""

import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, message, original
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.processes import cpu_seconds, descriptors, processes
from tests.support.e2e.server import PASSWORD, WORKERS, Server, wait_until

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir() or not hasattr(resource, "prlimit"),
    reason="the descriptors and the CPU time of another process are seen in Linux's /proc only",
)

LIMIT = 64  # descriptors of a process
CROWD = 75 * WORKERS  # clients: more than the limit lets in, and the rest fits in the kernel's queue
LOOKING = 1.5  # seconds in which the CPU time is measured
IDLE = 0.15  # of one core; a loop that spins takes all it can get
LARGE = message("large", (b"x" * 998 + b"\r\n") * 12_000)  # 12 MB: more than the server keeps in memory


class Limited(Server):
    """A server that starts with few descriptors."""

    def command(self) -> list[str]:
        return ["sh", "-c", f'ulimit -n {LIMIT} && exec "$@"', "sh", *super().command()]


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Server]:
    server = Limited(tmp_path)
    yield server.start()
    server.finish()


def check_idle(server: Server) -> None:
    before, start = cpu_seconds(server), time.monotonic()
    time.sleep(LOOKING)
    used, passed = cpu_seconds(server) - before, time.monotonic() - start
    assert used < IDLE * passed, f"{used:.2f} s of CPU time in {passed:.2f} s, with nothing to do"


class Crowd:
    """Clients that connect, all at once, and say nothing."""

    def __init__(self, address: tuple[str, int], clients: int, stack: ExitStack) -> None:
        self.sockets = [stack.enter_context(socket.socket()) for _ in range(clients)]
        self.greeted: set[socket.socket] = set()
        for each in self.sockets:
            each.setblocking(False)
            each.connect_ex(address)

    def look(self, seconds: float) -> int:
        """How many have been greeted when nobody new has been for so many seconds."""
        while readable := select.select(set(self.sockets) - self.greeted, [], [], seconds)[0]:
            for each in readable:
                assert each.recv(1000).startswith((b"220 ", b"+OK ")), "a client was turned away"
                self.greeted.add(each)
        return len(self.greeted)

    def leave(self) -> None:
        for each in self.sockets:
            each.close()


def deliver(session: Smtp, content: bytes, recipient: str = "alice@example.org") -> bytes:
    """The answer to the end of the message, or to a recipient that is not accepted."""
    session.expect(b"MAIL FROM:<a@client.example>", b"250 ")
    answer = session.ask(b"RCPT TO:<%s>" % recipient.encode())
    if not answer.startswith(b"250 "):
        session.expect(b"RSET", b"250 ")
        return answer
    session.expect(b"DATA", b"354 ")
    session.send(content.replace(b"\r\n.", b"\r\n.."))
    return session.ask(b".")


@pytest.mark.slow
def test_accepting_pauses_while_a_crowd_is_there(limited: Server) -> None:
    alice, bob = Mailbox(limited, "alice"), Mailbox(limited, "bob")
    alice.fill(MESSAGES["dots"])
    before = wait_until(lambda: descriptors(limited), "the descriptors")
    with ExitStack() as stack:
        sender = stack.enter_context(Smtp(limited.smtp))
        sender.expect(b"EHLO client.example", b"250")
        reader = stack.enter_context(alice.login())
        crowd = Crowd(limited.smtp, CROWD, stack)
        inside = crowd.look(1.0)
        assert 10 < inside < CROWD
        check_idle(limited)
        assert crowd.look(0) == inside, "it accepts on, though nobody has left"
        # Those who were there before are served as ever.
        for content in (MESSAGES["plain"], LARGE):
            assert deliver(sender, content, bob.address).startswith(b"250 ")
        assert original(reader.multi(b"RETR 1")) == MESSAGES["dots"]
        # Whoever leaves makes room for one who waits.
        for each in list(crowd.greeted)[:5]:
            each.close()
            crowd.sockets.remove(each)
            crowd.greeted.remove(each)
        assert inside - 5 < crowd.look(1.0) < CROWD - 5
        crowd.leave()
        assert [original(stored) for stored in bob.messages()] == [MESSAGES["plain"], LARGE]
        reader.expect(b"DELE 1", b"+OK")
        reader.expect(b"QUIT", b"+OK")
    alice.fill(MESSAGES["eight-bit"])
    assert [original(stored) for stored in alice.messages()] == [MESSAGES["eight-bit"]]
    # The writer of messages may have a descriptor open for a moment.
    wait_until(lambda: descriptors(limited) <= before + 1, "the descriptors to be closed")


@contextmanager
def none_left(server: Server) -> Iterator[None]:
    """Every system call of the server that needs a descriptor fails with EMFILE."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in processes(server)}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)


def test_nothing_can_be_opened(server: Server) -> None:
    alice, bob = Mailbox(server, "alice"), Mailbox(server, "bob")
    alice.fill(MESSAGES["plain"], MESSAGES["attachment"])
    before = descriptors(server)
    with ExitStack() as stack:
        sender, second = (stack.enter_context(Smtp(server.smtp)) for _ in range(2))
        sender.expect(b"EHLO client.example", b"250")
        second.expect(b"EHLO client.example", b"250")
        reader, other = stack.enter_context(alice.login()), stack.enter_context(Pop3(server.pop3))
        with none_left(server):
            late = [Crowd(address, 3, stack) for address in (server.smtp, server.pop3)]
            # One that is known, one that has no folder yet, and one too large for the memory.
            for session, recipient, content in [
                (sender, "alice@example.org", MESSAGES["dots"]),
                (second, "bob@example.org", MESSAGES["dots"]),
                (sender, "alice@example.org", LARGE),
                (second, "club@example.org", MESSAGES["dots"]),
            ]:
                assert deliver(session, content, recipient).startswith(b"451 4.3.0 ")
            for number in (b"1", b"2"):
                assert reader.ask(b"RETR " + number).startswith(b"-ERR [SYS/TEMP] ")
            reader.expect(b"STAT", b"+OK 2 ")
            answer = other.login(bob.address, PASSWORD)
            assert answer.startswith((b"+OK", b"-ERR [SYS/TEMP] "))
            check_idle(server)
            assert [crowd.look(0) for crowd in late] == [0, 0]
        # The same sessions and clients, once there are descriptors again.
        wait_until(lambda: sum(crowd.look(0.01) for crowd in late) == 6, "the greetings")
        for session in (sender, second):
            assert deliver(session, MESSAGES["dots"], bob.address).startswith(b"250 ")
        assert original(reader.multi(b"RETR 1")) == MESSAGES["plain"]
        assert original(reader.multi(b"RETR 2")) == MESSAGES["attachment"]
        reader.expect(b"QUIT", b"+OK")
        if answer.startswith(b"-ERR"):
            assert other.login(bob.address, PASSWORD).startswith(b"+OK")
        other.expect(b"QUIT", b"+OK")
    assert [original(stored) for stored in bob.messages()] == [MESSAGES["dots"]] * 2
    assert [original(stored) for stored in alice.messages()] == [MESSAGES["plain"], MESSAGES["attachment"]]
    wait_until(lambda: descriptors(server) <= before + 1, "the descriptors to be closed")
