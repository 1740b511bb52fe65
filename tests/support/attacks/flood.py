"""``python -m tests.support.attacks.flood HOST PORT CONNECTIONS BEFORE COMMAND`` pipelines without end.

A process of its own, so that it competes with a probe for nothing but the server. It prints "flooding" when
all connections are there, and goes on until it is ended. BEFORE and COMMAND are hexadecimal.
"""

import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PIECE = 64 * 1024


def flood(host: str, port: int, connections: int, before: bytes, command: bytes) -> None:
    selector = selectors.DefaultSelector()
    whole = command * (PIECE // len(command))
    left: dict[int, bytes] = {}
    for _ in range(connections):
        client = socket.create_connection((host, port))
        client.recv(1024)
        client.sendall(before)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
    print("flooding", flush=True)
    while selector.get_map():
        for key, ready in selector.select():
            client = key.fileobj  # type: ignore[assignment]
            try:
                if ready & selectors.EVENT_READ and not client.recv(1 << 20):
                    selector.unregister(client)
                elif ready & selectors.EVENT_WRITE:
                    octets = left.get(key.fd) or whole
                    left[key.fd] = octets[client.send(octets) :]
            except BlockingIOError:
                continue
            except OSError:
                selector.unregister(client)


@contextmanager
def flooding(address: tuple[str, int], connections: int, before: bytes, command: bytes) -> Iterator[None]:
    """The server at ``address`` is flooded in the meantime."""
    host, port = address
    words = [host, str(port), str(connections), before.hex(), command.hex()]
    with subprocess.Popen([sys.executable, "-m", __name__, *words], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"flooding\n"
            yield
            assert process.poll() is None, "nobody was left to flood"
        finally:
            process.kill()


if __name__ == "__main__":
    flood(
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        bytes.fromhex(sys.argv[4]),
        bytes.fromhex(sys.argv[5]),
    )
