"""An HTTP listener without sockets: what a client sends, and what it gets."""

from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mailserver.http.exchange import HTTPAnswer, HTTPHead, HTTPProblem, HTTPRequest


class HTTPWire(StringTransport):
    """A transport that remembers how it was closed."""

    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no network."""

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True


@attrs.frozen
class WireAnswer:
    """An answer of the server. ``fields`` have names in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


def read_answers(octets: bytes, *methods: str) -> list[WireAnswer]:
    """All answers in the octets, to requests with these methods; by default none is HEAD."""
    found = []
    names = iter(methods)
    while octets:
        head, _, octets = octets.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(": ")
            fields[name.lower()] = value
        version, status, _ = first.split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0")
        body = b""
        if next(names, "") != "HEAD" and status not in ("100", "204"):
            if fields.get("transfer-encoding") == "chunked":
                body, octets = _chunks(octets)
            else:
                length = int(fields["content-length"])
                assert len(octets) >= length
                body, octets = octets[:length], octets[length:]
        found.append(WireAnswer(int(status), fields, body))
    return found


def _chunks(octets: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, _, octets = octets.partition(b"\r\n")
        size = int(line, 16)
        body += octets[:size]
        octets = octets[size + 2 :]
        if not size:
            return body, octets


@attrs.define
class EchoApplication:
    """Answers with the method, the target, the host and the body of the request."""

    most: int = 100
    seen: list[HTTPHead] = attrs.field(factory=list)
    stopped: bool = False
    answers: list[Any] = attrs.field(factory=list)

    def max_body(self, head: HTTPHead) -> int:
        return self.most

    async def answer(self, request: HTTPRequest) -> HTTPAnswer:
        head = request.head
        self.seen.append(head)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer if isinstance(answer, HTTPAnswer) else await answer
        if head.target == "/problem":
            raise HTTPProblem(404, "nothing here")
        body = request.body.read().decode("latin-1")
        return HTTPAnswer.text(f"{head.method} {head.target} {head.query} {head.host} {body}")

    def failed(self, head: HTTPHead, failure: Failure) -> HTTPAnswer:
        return HTTPProblem(500, f"bug: {type(failure.value).__name__}").answer

    def stop(self) -> None:
        self.stopped = True


def connect_http(factory: Any, host: str = "192.0.2.1") -> tuple[Any, HTTPWire]:
    """A connection of an HTTP factory; None if it is rejected."""
    address = IPv4Address("TCP", host, 40000)
    channel = factory.buildProtocol(address)
    wire = HTTPWire(hostAddress=IPv4Address("TCP", "192.0.2.7", 80), peerAddress=address)
    if channel is not None:
        channel.makeConnection(wire)
    return channel, wire
