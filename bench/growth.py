"""Measures how the costs grow with a mailbox, the store and the queue: ``python -m bench.growth``.

Each size has a server of its own. The figures are the costs of a delivery, of a POP3 login with STAT, and of
a start until the server is ready; with a queue also those of relaying a new message. Deliveries, logins and
relayed messages come one after another. A cost is the processor time of the server, the time, and the ratio
of the processor time to that of the smallest size. The processor time of a delivery includes the sync of the
mailbox about a second later.

The code of the server fills the mailboxes, the account store and the queue, but without syncs. The files are
links to the same file. So the first session on a mailbox reads few inodes, and those from memory.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import argparse
import itertools
import shutil
import smtplib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from queue import Empty
from statistics import median

import attrs

from mailserver.app.data import accounts_file, queue_file
from mailserver.mail.queued import FailedAttempt, QueuedRecipient, remote_destination
from mailserver.mail.verdict import MAILBOX_FULL
from mailserver.queue.entries import InMemoryContent

from . import filling, place, pop3load, processes
from .errors import BenchError
from .latency import DOMAIN as FAR
from .latency import PATIENCE, OtherServer
from .relay import RelayingMailserver, memory
from .servers import DOMAIN, HOST

OCTETS = 2048  # of a message in a mailbox
EACH = 10  # messages in each mailbox of a store, and in a mailbox beside a queue
SENDER = "sender@client.example"
MESSAGE = filling.text(4096)
WAITING = InMemoryContent(filling.text(100))
OTHER = "other"  # a mailbox for the first sessions and deliveries, which load code
FIRST = 20
LOGINS, DELIVERIES, CHANGES = 100, 100, 5
SPREAD_OVER = 1_000  # mailboxes of a store that are used, at most
DOMAINS = 1_000  # of the waiting messages
LATER, SPREAD = 7200.0, 7200.0  # seconds until the first message is due, and from then to the last one
CHECKPOINT = 1.2  # seconds until the server has begun to sync its deliveries
STEP, QUIET = 0.5, 0.003  # the server is at rest: seconds of processor time in a step
PATIENCE_AT_START = 180.0  # seconds for the sweep


@attrs.frozen
class Cost:
    """Milliseconds of processor time and of time, for one of several equal actions."""

    cpu: float
    wall: float


Figures = dict[str, Cost]


def _cost(cpu: float, seconds: float, actions: int) -> Cost:
    return Cost(cpu * 1000 / actions, seconds * 1000 / actions)


class Growing(RelayingMailserver):
    """A server that grows. It relays the mail for :data:`FAR` to ``far``."""

    def __init__(self, folder: Path, far: OtherServer) -> None:
        super().__init__(folder, [(FAR, f"{HOST}:{far.server_address[1]}")])
        self.far = far
        self.data = folder / "data"

    def cpu(self) -> float:
        [pid] = self.roots()
        return processes.clock(pid)

    def rest(self, patience: float = 60.0) -> None:
        """Wait until the server has nothing more to do."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            before = self.cpu()
            time.sleep(STEP)
            if self.cpu() - before < QUIET:
                return
        raise BenchError(f"the server was busy for {patience:.0f} s")

    def timed_start(self) -> Cost:
        """Start it."""
        began = time.monotonic()
        self.start()
        return _cost(self.cpu(), time.monotonic() - began, 1)

    def warm_up(self) -> None:
        """Load the code for everything that is measured, and wait until the server is at rest."""
        self.rest(PATIENCE_AT_START)
        self.log_in([OTHER] * FIRST)
        self.deliver([OTHER] * FIRST)
        self.relay(FIRST)

    def log_in(self, users: Sequence[str]) -> Cost:
        """The cost of a session with STAT, of one on each of these mailboxes."""
        began, cpu = time.monotonic(), self.cpu()
        pop3load.counts_in_turn(self.pop3, users)
        return _cost(self.cpu() - cpu, time.monotonic() - began, len(users))

    def send(self, recipients: Sequence[str], wait: Callable[[], object] = lambda: None) -> Cost:
        """The cost of a message, of one to each of these recipients. ``wait`` is called after each."""
        with smtplib.SMTP(*self.smtp) as client:
            client.ehlo()
            began, cpu = time.monotonic(), self.cpu()
            for recipient in recipients:
                client.sendmail(SENDER, [recipient], MESSAGE)
                wait()
            seconds = time.monotonic() - began
        time.sleep(CHECKPOINT)
        self.rest()
        return _cost(self.cpu() - cpu, seconds, len(recipients))

    def deliver(self, users: Sequence[str]) -> Cost:
        """The cost of a delivery, of one to each of these mailboxes."""
        return self.send([f"{user}@{DOMAIN}" for user in users])

    def relay(self, messages: int) -> Cost:
        """The cost of a message to the other server, until it is there."""
        return self.send([f"user@{FAR}"] * messages, lambda: self.far.arrivals.get(timeout=PATIENCE))


# ------------------------------------------------------------ a mailbox


def fill_mailbox(server: Growing, messages: int, repetitions: int) -> None:
    """Each repetition has a mailbox of its own, since it adds messages."""
    users = [f"box{number}" for number in range(repetitions)]
    filling.accounts(accounts_file(server.data), [OTHER, *users])
    filling.mailboxes(server.data / "mail", [OTHER], EACH, OCTETS)
    filling.mailboxes(server.data / "mail", users, messages, OCTETS)


def measure_mailbox(server: Growing, messages: int, repetition: int) -> Figures:
    """The costs with a large mailbox."""
    user = f"box{repetition}"
    found = {"start": server.timed_start()}
    server.warm_up()
    found["first login"] = server.log_in([user])
    found["login"] = server.log_in([user] * LOGINS)
    found["first delivery"] = server.deliver([user])
    found["delivery"] = server.deliver([user] * DELIVERIES)
    changed = []
    for _ in range(CHANGES):
        server.deliver([user])
        changed.append(server.log_in([user]))
    found["login after a delivery"] = _median(changed)
    return found


# ------------------------------------------------------------ a store


def _names(mailboxes: int) -> list[str]:
    return [f"user{number}" for number in range(mailboxes)]


def fill_store(server: Growing, mailboxes: int, repetitions: int) -> None:
    """Mailboxes and their accounts."""
    users = [OTHER, *_names(mailboxes)]
    filling.accounts(accounts_file(server.data), users)
    filling.mailboxes(server.data / "mail", users, EACH, OCTETS)


def measure_store(server: Growing, mailboxes: int, repetition: int) -> Figures:
    """The costs with many mailboxes, of which some are used."""
    users = _names(mailboxes)[:: max(1, mailboxes // SPREAD_OVER)]
    found = {"start": server.timed_start()}
    server.warm_up()
    found["first login"] = server.log_in(users)
    found["login"] = server.log_in(users)
    found["first delivery"] = server.deliver(users)
    found["delivery"] = server.deliver(users)
    return found


# ------------------------------------------------------------ a queue


def fill_queue(server: Growing, messages: int, repetitions: int) -> None:
    """Messages for other servers, none of them due."""
    users = [OTHER, *(f"box{number}" for number in range(repetitions))]
    filling.accounts(accounts_file(server.data), users)
    filling.mailboxes(server.data / "mail", users, EACH, OCTETS)
    now = time.time()
    failed = (FailedAttempt(now, MAILBOX_FULL, "the mailbox is full"),)

    def recipient(number: int) -> QueuedRecipient:
        domain = f"domain{number % DOMAINS}.example"
        to = f"user{number}@{domain}"
        due = now + LATER + SPREAD * number / messages
        return QueuedRecipient(1, remote_destination(domain), to, to, SENDER, b"", 1, due, failed)

    filling.queue(queue_file(server.data), messages, SENDER, WAITING, recipient)


def measure_queue(server: Growing, messages: int, repetition: int) -> Figures:
    """The costs beside a long queue."""
    user = f"box{repetition}"
    found = {"start": server.timed_start()}
    server.warm_up()
    found["first login"] = server.log_in([user])
    found["login"] = server.log_in([user] * LOGINS)
    found["delivery"] = server.deliver([user] * DELIVERIES)
    found["relaying"] = server.relay(DELIVERIES)
    return found


# ------------------------------------------------------------ all


@attrs.frozen
class Axis:
    """What grows: its sizes, and how a server is filled and measured, by size and repetition."""

    unit: str
    sizes: Sequence[int]
    fill: Callable[[Growing, int, int], None]
    measure: Callable[[Growing, int, int], Figures]


AXES = {
    "mailbox": Axis("messages in the mailbox", (100, 1_000, 10_000, 100_000), fill_mailbox, measure_mailbox),
    "store": Axis("mailboxes", (10, 1_000, 10_000), fill_store, measure_store),
    "queue": Axis("waiting messages", (0, 10_000, 1_000_000), fill_queue, measure_queue),
}


def _median(costs: Iterable[Cost]) -> Cost:
    several = list(costs)
    return Cost(median(one.cpu for one in several), median(one.wall for one in several))


def measure(axis: Axis, repetitions: int, folder: Path) -> Iterable[str]:
    """The lines of the table. Raises BenchError and OSError."""
    own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    servers: dict[int, Growing] = {}
    found: dict[int, list[Figures]] = {size: [] for size in axis.sizes}
    memories: dict[int, tuple[float, float]] = {}
    with OtherServer() as far:
        try:
            for size in axis.sizes:
                print(f"fill: {size:,} {axis.unit}", file=sys.stderr, flush=True)
                (own / str(size)).mkdir()
                server = servers[size] = Growing(own / str(size), far)
                server.start()  # makes the data directory
                server.stop()
                axis.fill(server, size, repetitions)
            for repetition, size in itertools.product(range(repetitions), axis.sizes):
                print(f"repetition {repetition + 1}: {size:,} {axis.unit}", file=sys.stderr, flush=True)
                found[size].append(axis.measure(servers[size], size, repetition))
                [pid] = servers[size].roots()
                memories[size] = memory(pid, "VmRSS"), memory(pid, "VmHWM")
                servers[size].stop()
        except smtplib.SMTPException as error:
            raise BenchError(str(error)) from error
        except Empty:
            raise BenchError(f"a message did not arrive within {PATIENCE:.0f} s") from None
        finally:
            for server in servers.values():
                server.stop()
            far.shutdown()
            shutil.rmtree(own)
    return _table(axis, found, memories)


def _table(
    axis: Axis, found: dict[int, list[Figures]], memories: dict[int, tuple[float, float]]
) -> Iterable[str]:
    medians = {
        size: {name: _median(one[name] for one in several) for name in several[0]}
        for size, several in found.items()
    }
    smallest = medians[axis.sizes[0]]
    head = [axis.unit, *smallest, "resident MiB", "highest MiB"]
    yield f"| {' | '.join(head)} |"
    yield f"|{'---:|' * len(head)}"
    for size, figures in medians.items():
        cells = [
            " / ".join(map(_number, (cost.cpu, cost.wall, cost.cpu / smallest[name].cpu)))
            for name, cost in figures.items()
        ]
        yield f"| {' | '.join([f'{size:,}', *cells, *(f'{one:.1f}' for one in memories[size])])} |"


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description="Measure how the costs grow. A cost is: CPU ms / ms / ratio of CPU ms to the first row.",
    )
    add = parser.add_argument
    add("--of", choices=AXES, action="append", help="measure only what grows here; can be repeated")
    add("--most", type=int, default=1_000_000, help="leave out larger sizes than this (default: 1000000)")
    add("--repetitions", type=int, default=3, help="number of repetitions (default: 3)")
    add("--folder", type=Path, default=place.DEFAULT, help=place.HELP)
    chosen = parser.parse_args()
    if chosen.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    if chosen.most < 100:
        parser.error("--most must be at least 100")
    try:
        for name in chosen.of or AXES:
            axis = attrs.evolve(AXES[name], sizes=[size for size in AXES[name].sizes if size <= chosen.most])
            print("\n".join(measure(axis, chosen.repetitions, chosen.folder)), end="\n\n", flush=True)
    except (BenchError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
