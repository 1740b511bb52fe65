"""Compares BDAT (RFC 3030) with DATA for large messages: ``python -m bench.chunks``.

One client sends the same messages of 10 MiB in turn by DATA and by BDAT, in one chunk and in many. The
processor time of the server is the most reliable figure.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import sys
import time
from collections.abc import Callable

from . import in_turn
from .crowd import connect
from .errors import BenchError
from .meter import Figures, Meter
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


def main() -> int:
    return in_turn.main(
        "chunks", "Compare BDAT with DATA.", lambda folder: Mailserver(folder, [USER]), list(ROWS), run
    )


if __name__ == "__main__":
    sys.exit(main())
