"""Compares BDAT (RFC 3030) with DATA for large messages: ``python -m bench.chunks``.

One client sends the same messages of 10 MiB in turn by DATA and by BDAT, in one chunk and in many. The
processor time of the server is the most reliable figure.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from . import place, pop3load
from .crowd import connect
from .errors import BenchError
from .meter import NOISE, Figures, Meter
from .servers import DOMAIN, Mailserver
from .smtpload import CLIENT, say

MIB = 1024 * 1024
MESSAGES = 10
LINES = 10 * MIB // 76
USER = "user"


def content() -> bytes:
    return b"Subject: a large message\r\n\r\n" + (b"x" * 74 + b"\r\n") * LINES


def by_data(text: bytes) -> bytes:
    return text + b".\r\n"


def in_chunks(octets: int) -> Callable[[bytes], bytes]:
    def chunks(text: bytes) -> bytes:
        starts = range(0, len(text), octets)
        pieces = [b"BDAT %d\r\n%b" % (len(text[at : at + octets]), text[at : at + octets]) for at in starts]
        return b"".join(pieces) + b"BDAT 0 LAST\r\n"

    return chunks


ROWS: dict[str, Callable[[bytes], bytes]] = {
    "DATA": by_data,
    "BDAT, one chunk": lambda text: b"BDAT %d LAST\r\n%b" % (len(text), text),
    "BDAT, chunks of 64 KiB": in_chunks(65536),
    "BDAT, chunks of 1 KiB": in_chunks(1024),
}


def run(server: Mailserver, title: str) -> Figures:
    """The figures of one row. Raises BenchError."""
    octets, text = ROWS[title](content()), content()
    client = connect(server.smtp)
    try:
        say(client, b"", b"220")
        say(client, b"EHLO " + CLIENT.encode() + b"\r\n", b"250")
        with Meter(server) as meter:
            began = time.perf_counter()
            for _ in range(MESSAGES):
                say(client, b"MAIL FROM:<sender@%s>\r\n" % CLIENT.encode(), b"250")
                say(client, b"RCPT TO:<%s@%s>\r\n" % (USER.encode(), DOMAIN.encode()), b"250")
                if title == "DATA":
                    say(client, b"DATA\r\n", b"354")
                client.sendall(octets)
                replies = b""
                while b"queued as" not in replies[-100:] or not replies.endswith(b"\r\n"):
                    if not (received := client.recv(65536)) or b"\n5" in received:
                        raise BenchError(f"{title}: the message is not accepted: {replies + received!r:.200}")
                    replies += received
            seconds = time.perf_counter() - began
        say(client, b"QUIT\r\n", b"221")
    finally:
        client.close()
    server.sent[USER] = server.sent.get(USER, 0) + MESSAGES
    return {"MiB/s": MESSAGES * len(text) / MIB / seconds, **meter.figures("message", MESSAGES)}


def measure(repetitions: int, folder: Path) -> dict[str, list[Figures]]:
    """Measure all rows in turn on one server, several times. Raises BenchError and OSError."""
    found: dict[str, list[Figures]] = {title: [] for title in ROWS}
    place_of_its_own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    server = Mailserver(place_of_its_own, [USER])
    try:
        server.start()
        for repetition, title in itertools.product(range(repetitions), ROWS):
            print(f"repetition {repetition + 1}: {title}", file=sys.stderr, flush=True)
            found[title].append(run(server, title))
        counts = pop3load.counts(server.pop3, server.users)
        if counts != server.sent:
            raise BenchError(f"{sum(server.sent.values())} messages were sent, STAT reports {counts}")
    finally:
        server.stop()
        shutil.rmtree(place_of_its_own)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chunks", description="Compare BDAT with DATA.")
    parser.add_argument("--repetitions", type=int, default=3, help="number of repetitions (default: 3)")
    parser.add_argument("--folder", type=Path, default=place.DEFAULT, help=place.HELP)
    chosen = parser.parse_args()
    if chosen.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    try:
        found = measure(chosen.repetitions, chosen.folder)
    except (BenchError, OSError) as error:
        print(f"python -m bench.chunks: {error}", file=sys.stderr)
        return 1
    units = [unit for unit in found["DATA"][0] if unit != NOISE]
    print(f"| | {' | '.join(units)} |\n|---|{'---:|' * len(units)}")
    for title, figures in found.items():
        cells = [f"{median(one[unit] for one in figures):,.2f}" for unit in units]
        print(f"| {title} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
