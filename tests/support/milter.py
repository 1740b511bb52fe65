"""Packets of the milter protocol, and a filter that answers by a script.

The packets are written here anew, from libmilter's side.
"""

import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

STAGES = b"OCHMRTLNBE"  # the commands that a filter answers
CONTINUE = struct.pack(">IB", 1, ord("c"))


def answer(command: bytes, data: bytes = b"") -> bytes:
    """The octets of one packet."""
    return struct.pack(">I", 1 + len(data)) + command + data


def options(*, version: int = 6, actions: int = 0x11, steps: int = 0) -> bytes:
    """The answer to the negotiation."""
    return answer(b"O", struct.pack(">III", version, actions, steps))


def indexed(command: bytes, index: int, name: bytes, value: bytes) -> bytes:
    """A change of the header with an index."""
    return answer(command, struct.pack(">I", index) + name + b"\0" + value + b"\0")


def split(octets: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The whole packets, and the rest."""
    found = []
    while len(octets) >= 4 and len(octets) - 4 >= (length := struct.unpack(">I", octets[:4])[0]):
        found.append((octets[4:5], octets[5 : 4 + length]))
        octets = octets[4 + length :]
    return found, octets


class ScriptedFilter:
    """Listens on a unix socket, in a thread for each connection. ``seen`` has the packets of all connections,
    without macros.

    ``script`` has the octets to send for a command; None closes the connection. Commands without an entry
    are answered with "continue". ``script`` may be replaced between two messages.
    """

    def __init__(self, path: Path, script: Mapping[bytes, bytes | None] | None = None) -> None:
        self.path = path
        self.script: Mapping[bytes, bytes | None] = script or {}
        self.seen: list[tuple[bytes, bytes]] = []
        self.macros: dict[bytes, bytes] = {}
        self.connections = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def commands(self) -> bytes:
        """The command octets that it has seen."""
        return b"".join(command for command, _ in self.seen)

    def close(self) -> None:
        """Stop listening, and close all connections."""
        for one in (self._socket, *self._open):
            # Others may have closed it, too. Wakes the thread up.
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        held = b""
        with connection:
            while data := _received(connection):
                packets, held = split(held + data)
                for command, arguments in packets:
                    if not self._handle(connection, command, arguments):
                        return

    def _handle(self, connection: socket.socket, command: bytes, arguments: bytes) -> bool:
        if command == b"D":
            self.macros[arguments[:1]] = arguments[1:]
            return True
        self.seen.append((command, arguments))
        if command not in self.script and command not in STAGES:
            return command != b"Q"
        reply = self.script.get(command, options() if command == b"O" else CONTINUE)
        if reply is None:
            return False
        try:
            connection.sendall(reply)
        except OSError:
            return False
        return True


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def strings(data: bytes) -> Sequence[bytes]:
    """The strings of a packet."""
    return data.split(b"\0")[:-1]
