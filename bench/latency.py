"""Measures how soon a message reaches another server: ``python -m bench.latency``.

The server is idle and relays one message of 4 KiB after another to a program on this machine. The figures are
milliseconds from the 250 of the server to the client until the other program has the whole message.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import argparse
import shutil
import smtplib
import socketserver
import sys
import tempfile
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue

from . import place
from .errors import BenchError
from .relay import RelayingMailserver
from .servers import HOST

DOMAIN = "far.example"
MESSAGE = "Subject: how soon\r\n\r\n" + ("x" * 70 + "\r\n") * 56
PATIENCE = 30.0  # seconds for a message
IDLE = 0.02  # seconds between two messages


class OtherServer(socketserver.ThreadingTCPServer):
    """Takes mail, and puts the time of each message into ``arrivals``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), Session)
        self.arrivals: SimpleQueue[float] = SimpleQueue()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Session(socketserver.StreamRequestHandler):
    """One SMTP connection."""

    server: OtherServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer each command; after DATA, read a message."""
        self.wfile.write(b"220 far.example ESMTP\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.server.arrivals.put(time.monotonic())
            if verb == b"EHLO":
                self.wfile.write(b"250-far.example\r\n250 PIPELINING\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


def measure(messages: int, folder: Path) -> list[float]:
    """The milliseconds for each message. Raises BenchError and OSError."""
    own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    try:
        with OtherServer() as other:
            server = RelayingMailserver(own, [(DOMAIN, f"{HOST}:{other.server_address[1]}")])
            server.start()
            try:
                with smtplib.SMTP(*server.smtp) as client:
                    return [_one(client, other) for _ in range(messages)]
            finally:
                server.stop()
                other.shutdown()
    except smtplib.SMTPException as error:
        raise BenchError(str(error)) from error
    finally:
        shutil.rmtree(own)


def _one(client: smtplib.SMTP, other: OtherServer) -> float:
    client.sendmail("sender@example.org", [f"user@{DOMAIN}"], MESSAGE)
    accepted = time.monotonic()
    try:
        arrived = other.arrivals.get(timeout=PATIENCE)
    except Empty:
        raise BenchError(f"a message did not arrive within {PATIENCE:.0f} s") from None
    time.sleep(IDLE)
    return max(arrived - accepted, 0.0) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.latency", description="Measure how soon a message reaches another server."
    )
    parser.add_argument("--messages", type=int, default=500, help="number of messages (default: 500)")
    parser.add_argument("--folder", type=Path, default=place.DEFAULT, help=place.HELP)
    chosen = parser.parse_args()
    if chosen.messages < 1:
        parser.error("--messages must be at least 1")
    try:
        found = measure(chosen.messages, chosen.folder)
    except (BenchError, OSError) as error:
        print(f"python -m bench.latency: {error}", file=sys.stderr)
        return 1
    first, later = found[0], sorted(found[1:] or found)
    half, most = later[len(later) // 2], later[int(len(later) * 0.99)]
    print(f"first {first:.1f} ms; then p50 {half:.1f} ms, p99 {most:.1f} ms, p100 {later[-1]:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
