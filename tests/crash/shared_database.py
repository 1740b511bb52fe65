"""Servers that share a database, and clients that use any of them and go on after a failure."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.crash.ledger import Ledger
from tests.crash.traffic import BOXES, MEMBERS, Failures, Traffic
from tests.support.e2e.server import DOMAIN, Server, configuration, launch_python, wait_until

HELD = "holder"
TABLES = f"""
[[list]]
address = "club@{DOMAIN}"
members = {[f"{name}@{DOMAIN}" for name in MEMBERS]}
"""


class Clients(Traffic):
    """Clients that use any of the servers, and go on after a failure until ``freeze``. They rest while
    ``paused``."""

    def __init__(self, servers: list[Server], ledger: Ledger) -> None:
        self.servers = servers
        super().__init__(servers[0], ledger, Counter())
        self._go = threading.Event()
        self._go.set()
        self._busy = 0
        self._idle = threading.Condition()

    @property
    def server(self) -> Server:
        """Another one for each session."""
        return random.choice(self.servers)

    @server.setter
    def server(self, server: Server) -> None:
        assert server in self.servers

    def pause(self) -> None:
        """Wait until nobody is at work."""
        self._go.clear()
        with self._idle:
            assert self._idle.wait_for(lambda: not self._busy, 180)

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def _run(self, work: Callable[[random.Random], None], dice: random.Random, once: bool = False) -> None:
        while not self._frozen:
            self._go.wait(1)
            with self._idle:
                if not self._go.is_set():
                    continue
                self._busy += 1
            try:
                work(dice)
            except Failures:
                time.sleep(0.005)  # the server was killed, or has lost its database
            finally:
                with self._idle:
                    self._busy -= 1
                    self._idle.notify_all()


class SharedDatabase:
    """Servers on one database, one for each URL, and their clients."""

    def __init__(self, folder: Path, urls: Sequence[str], name: str) -> None:
        self.servers: list[Server] = []
        for number, url in enumerate(urls):
            place = folder / f"node{number}"
            place.mkdir()
            tables = f'{TABLES}[storage]\nengine = "postgresql"\nurl = "{url}"\n'
            text = configuration(
                top='allow_root = true\nstop_grace = "2s"', accounts=[*BOXES, *MEMBERS, HELD], tables=tables
            )
            self.servers.append(Server(place, text, launch_python))
        self.clients = Clients(self.servers, Ledger(name))

    @property
    def wrong(self) -> list[str]:
        """The violations so far."""
        return self.clients.wrong

    def stop_clients(self) -> None:
        """Wait until they have ended."""
        self.clients.freeze()
        self.clients.resume()
        self.clients.join()

    def check(self, dice: random.Random, leases: Callable[[], object]) -> None:
        """Compare the mailboxes with the ledger while no client is at work, and no session has a lease."""
        self.clients.pause()
        wait_until(lambda: not leases(), "the end of all sessions", 60)
        self.clients.check(dice)
        self.clients.resume()

    def end(self) -> None:
        """End everything, however it went."""
        self.clients.freeze()
        self.clients.resume()
        for server in self.servers:
            if server.process is not None and server.process.poll() is None:
                server.kill()
