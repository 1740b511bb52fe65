"""The server's side of the control channel: reads requests, runs the commands, sends the replies.

``channel`` defines requests and replies. The commands themselves are passed in.
"""

import contextlib
import json
import os
import socket
import stat
from collections import deque
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IFileDescriptorReceiver
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.control.channel import CONTENT, MAX_LINE, Command, CommandOutcome, socket_name
from mailserver.errors import CannotStart, MailserverError, one_line, storage_error
from mailserver.events.base import report
from mailserver.events.server import ControlCommandFailed
from mailserver.interfaces import IReactor
from mailserver.net.endpoints import HandedOverPort

MAX_WAITING = 100  # requests sent ahead on one connection
MODE = 0o600
BACKLOG = 50


@implementer(IFileDescriptorReceiver)
class ControlProtocol(LineOnlyReceiver):
    """One connection: a request at a time, in order. Disconnecting cancels the running request."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, commands: Mapping[str, Command], connections: set["ControlProtocol"]) -> None:
        self._commands = commands
        self._connections = connections
        self._waiting: deque[tuple[bytes, FileIO | None]] = deque()
        self._content: FileIO | None = None  # of the request that is arriving
        self._busy = False
        self._work: Deferred[None] | None = None

    def connectionMade(self) -> None:
        self._connections.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connections.discard(self)
        for _, content in self._waiting:
            _close(content)
        self._waiting.clear()
        _close(self._content)
        if self._work is not None:
            self._work.cancel()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """See ``IFileDescriptorReceiver``: the descriptor comes with the first octet of its request."""
        _close(self._content)
        self._content = FileIO(descriptor)

    def lineReceived(self, line: bytes) -> None:
        if len(self._waiting) == MAX_WAITING:
            self._end(f"more than {MAX_WAITING} requests are waiting")
            return
        self._waiting.append((line, self._content))
        self._content = None
        if not self._busy:
            self._busy = True
            self._work = Deferred.fromCoroutine(self._serve())
            self._work.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._end(f"a request has at most {MAX_LINE} octets")

    def _end(self, error: str) -> None:
        self._reply({"error": error})
        self.hang_up()

    def _reply(self, reply: Mapping[str, object]) -> None:
        assert self.transport is not None
        self.transport.write(json.dumps(reply).encode() + b"\n")

    def hang_up(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    async def _serve(self) -> None:
        while self._waiting:
            line, content = self._waiting.popleft()
            try:
                self._reply(await self._answer(line, content))
            finally:
                _close(content)
        self._busy = False

    async def _answer(self, line: bytes, content: FileIO | None) -> Mapping[str, object]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "the request is not JSON"}
        name = request.get("command") if isinstance(request, dict) else None
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            return {"error": f"unknown command; known: {', '.join(self._commands)}"}
        request.pop(CONTENT, None)
        if content is not None:
            request[CONTENT] = content
        try:
            outcome = command(request)
            if not isinstance(outcome, CommandOutcome):
                outcome = await outcome
        except CancelledError:
            raise
        except MailserverError as error:
            return {"error": one_line(str(error))}
        except Exception:  # noqa: BLE001 - a bug in a command fails the command and not the channel
            report(ControlCommandFailed(name=str(name)), Failure())
            return {"error": "internal error; see the log of the server"}
        more = {} if outcome.more is None else {"more": outcome.more}
        return {"lines": outcome.lines, "status": outcome.status, **more}


def _close(content: FileIO | None) -> None:
    if content is not None:
        content.close()


class ControlFactory(Factory):
    """Makes the protocol of each connection, and tracks the open ones."""

    noisy = False

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self.connections: set[ControlProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol:
        return ControlProtocol(self._commands, self.connections)


def control_socket(path: Path, remove: Callable[[Path], None]) -> socket.socket:
    """Listen on the control socket at ``path``.

    The data must be locked: an existing socket is then a leftover of a killed server. Raises ``OSError``.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            remove(path)
    listening = socket.socket(socket.AF_UNIX)
    try:
        with socket_name(path) as name:
            listening.bind(name)
            # Before it listens, so that nobody else can connect at any time.
            os.chmod(name, MODE)  # noqa: PTH101 - the name may go by a descriptor
        listening.listen(BACKLOG)
    except BaseException as error:
        listening.close()
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
    return listening


class ControlService(Service):
    """Listens on the socket ``path`` while it runs.

    The data must be locked when it starts. ``remove`` removes a file, by raising ``OSError`` if it cannot.
    ``inherited`` is the listening socket of a supervisor, which also removes the file.
    """

    def __init__(
        self,
        reactor: IReactor,
        path: Path,
        commands: Mapping[str, Command],
        remove: Callable[[Path], None],
        inherited: socket.socket | None = None,
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._remove = remove
        self._inherited = inherited
        self._factory = ControlFactory(commands)
        self._port: HandedOverPort | None = None

    def startService(self) -> None:
        """Listen. Raises :class:`~mailserver.errors.CannotStart`."""
        Service.startService(self)
        try:
            listening = self._inherited or control_socket(self._path, self._remove)
        except OSError as error:
            raise CannotStart(f"data: {storage_error(error)}") from error
        self._port = HandedOverPort(listening, self._factory, self._reactor)
        self._port.startListening()

    def stopService(self) -> Deferred[None]:
        """Remove the socket and disconnect all clients, which cancels their requests."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._port is None:
            return
        port, self._port = self._port, None
        if self._inherited is None:
            with contextlib.suppress(FileNotFoundError):
                self._remove(self._path)
        await maybeDeferred(port.stopListening)
        for protocol in list(self._factory.connections):
            protocol.hang_up()
