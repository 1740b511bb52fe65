"""The edges of HTTP/1.1 (RFC 9112): what is a request, what ends the connection, and what no client gains."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from mailserver.http.channel import BODY_TIME, FIELDS, HEAD_SIZE, HEAD_TIME, IDLE, STALLED
from mailserver.http.exchange import IN_MEMORY, SECURITY_FIELDS, HTTPAnswer
from mailserver.http.listening import HTTPListening
from mailserver.net.limits import Limits
from tests.support.fakes import stand_in
from tests.support.http_wire import EchoApplication, WireAnswer, connect_http, read_answers
from tests.support.net.limits import only_limits
from tests.support.reactor import FakeReactor

SECURE = {name.lower(): text for name, text in SECURITY_FIELDS.items()}
HOST = b"Host: mail.example.org\r\n"
GET = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /a HTTP/1.1\r\n" + HOST


class Listening:
    """A listener, and one connection of it."""

    def __init__(self, **options: Any) -> None:
        self.reactor = FakeReactor()
        self.application = EchoApplication()
        self.factory = HTTPListening(stand_in(self.application), stand_in(self.reactor), **options)
        self.channel, self.wire = connect_http(self.factory)

    def send(self, octets: bytes, piece: int = 0) -> list[WireAnswer]:
        """Send octets, at once or in pieces. Returns the answers."""
        piece = piece or max(1, len(octets))
        for start in range(0, len(octets), piece):
            if not self.wire.disconnecting:
                self.channel.dataReceived(octets[start : start + piece])
        said = self.wire.value()
        self.wire.clear()
        return read_answers(said)

    def lose(self) -> None:
        self.channel.connectionLost(Failure(ConnectionLost()))
        assert not [call for call in self.reactor.getDelayedCalls() if call.active()]


@pytest.fixture
def listening() -> Listening:
    return Listening()


# The octets, and the bodies of the answers. The connection stays open.
REQUESTS = {
    "get": (GET, ["GET /a  mail.example.org "]),
    "an empty line before it": (b"\r\n" + GET, ["GET /a  mail.example.org "]),
    "two": (GET + GET, ["GET /a  mail.example.org "] * 2),
    "a query": (b"GET /a?b=c%20d HTTP/1.1\r\n" + HOST + b"\r\n", ["GET /a b=c%20d mail.example.org "]),
    "a port": (b"GET / HTTP/1.1\r\nHost: MAIL.:8025\r\n\r\n", ["GET /  mail "]),
    "IPv6": (b"GET / HTTP/1.1\r\nHost: [::1]:8025\r\n\r\n", ["GET /  ::1 "]),
    "no blank behind the colon": (b"GET / HTTP/1.1\r\nHost:x\r\n\r\n", ["GET /  x "]),
    "the target counts": (
        b"GET http://other.example:1/b HTTP/1.1\r\n" + HOST + b"\r\n",
        ["GET /b  other.example "],
    ),
    "no path": (b"GET http://other.example HTTP/1.1\r\n" + HOST + b"\r\n", ["GET /  other.example "]),
    "a length": (POST + b"Content-Length: 3\r\n\r\nabc", ["POST /a  mail.example.org abc"]),
    "a body and a request": (
        POST + b"Content-Length: 3\r\n\r\nabc" + GET,
        ["POST /a  mail.example.org abc", "GET /a  mail.example.org "],
    ),
    "chunks": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: z\r\n\r\n" + GET,
        ["POST /a  mail.example.org abcde", "GET /a  mail.example.org "],
    ),
    "dots in a path": (
        b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
        ["GET /../../etc/passwd  mail.example.org "],
    ),
}


@pytest.mark.parametrize("piece", [0, 1, 7])
@pytest.mark.parametrize("name", REQUESTS)
def test_requests(listening: Listening, name: str, piece: int) -> None:
    octets, bodies = REQUESTS[name]
    answers = listening.send(octets, piece)
    assert [(each.status, each.body.decode()) for each in answers] == [(200, body) for body in bodies]
    assert not listening.wire.disconnecting
    listening.lose()


CHUNKED = b"Transfer-Encoding: chunked\r\n"
# The octets, and the status of the one answer. The connection is closed, and nothing behind is read.
ENDS = {
    "no HTTP": (b"EHLO client\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "two blanks": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a tab": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a blank in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "CONNECT": (b"CONNECT mail.example.org:25 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "another scheme": (b"GET ftp://x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a user in the target": (b"GET http://a@x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "an empty host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "a host with a path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    "a host with a user": (b"GET / HTTP/1.1\r\nHost: a@x\r\n\r\n", 400),
    "a list of hosts": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "a blank before the colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "a blank in a name": (b"GET / HTTP/1.1\r\n" + HOST + b"X Y: z\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X\r\n\r\n", 400),
    "no name": (b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n z\r\n\r\n", 400),
    "a folded first line": (b"GET / HTTP/1.1\r\n " + HOST + b"\r\n", 400),
    "a bare LF": (b"GET / HTTP/1.1\nHost: x\n\r\n\r\n", 400),
    "a bare LF in a field": (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\nZ: a\r\n\r\n", 400),
    "a bare CR in a field": (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\rZ: a\r\n\r\n", 400),
    "a NUL": (b"GET / HTTP/1.1\r\n" + HOST + b"X: \0\r\n\r\n", 400),
    "length and chunks": (POST + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + GET, 400),
    "chunks and length": (POST + CHUNKED + b"Content-Length: 3\r\n\r\nabc" + GET, 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" + GET, 400),
    "equal lengths": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + GET, 400),
    "a list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc" + GET, 400),
    "a signed length": (POST + b"Content-Length: +3\r\n\r\nabc" + GET, 400),
    "a negative length": (POST + b"Content-Length: -3\r\n\r\nabc" + GET, 400),
    "an empty length": (POST + b"Content-Length:\r\n\r\nabc" + GET, 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x3\r\n\r\nabc" + GET, 400),
    "chunks twice": (POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + GET, 400),
    "another coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + GET, 400),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\nabc" + GET, 400),
    "a disguised coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + GET, 400),
    "a disguised name": (POST + b"Transfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\nabc" + GET, 400),
    "a chunk without a size": (POST + CHUNKED + b"\r\n\r\nabc\r\n" + GET, 400),
    "a negative chunk": (POST + CHUNKED + b"\r\n-3\r\nabc\r\n0\r\n\r\n" + GET, 400),
    "a chunk with 0x": (POST + CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n" + GET, 400),
    "a chunk that is longer": (POST + CHUNKED + b"\r\n3\r\nabcd\r\n0\r\n\r\n" + GET, 400),
    "a long line of a chunk": (POST + CHUNKED + b"\r\n3;" + b"x" * 20_000 + b"\r\n", 400),
    "a large body": (POST + b"Content-Length: 101\r\n\r\n", 413),
    "many chunks": (POST + CHUNKED + b"\r\n" + b"32\r\n" + b"x" * 50 + b"\r\n33\r\n" + b"x" * 51, 413),
    "a huge length": (POST + b"Content-Length: 999999999999999\r\n\r\n", 413),
    "a length of 16 digits": (POST + b"Content-Length: 9999999999999999\r\n\r\n", 400),
    "a long request line": (b"GET /" + b"x" * HEAD_SIZE + b" HTTP/1.1\r\n", 431),
    "a long line without an end": (b"GET /" + b"x" * 2 * HEAD_SIZE, 431),
    "a long header": (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 9000 + b"\r\nX: " + b"y" * 9000 + b"\r\n", 431),
    "many fields": (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * FIELDS + b"\r\n", 431),
}  # fmt: skip


@pytest.mark.parametrize("piece", [0, 1009])
@pytest.mark.parametrize("name", ENDS)
def test_what_is_no_request_ends_the_connection(listening: Listening, name: str, piece: int) -> None:
    octets, status = ENDS[name]
    (answer,) = listening.send(octets, piece)
    assert answer.status == status and b'"detail"' in answer.body
    assert answer.fields["connection"] == "close"
    assert answer.fields["content-type"] == "application/problem+json"
    assert SECURITY_FIELDS.items() <= {
        name.title(): text for name, text in answer.fields.items()
    }.items() or (
        {name.lower(): text for name, text in SECURITY_FIELDS.items()}.items() <= answer.fields.items()
    )
    assert listening.wire.disconnecting and not listening.application.seen
    assert listening.send(GET) == []
    listening.lose()


def test_every_answer_has_the_fields_and_no_version(listening: Listening) -> None:
    for target in (b"/a", b"/problem"):
        (answer,) = listening.send(b"GET %s HTTP/1.1\r\n" % target + HOST + b"\r\n")
        assert SECURE.items() <= answer.fields.items()
        assert "server" not in answer.fields and "date" in answer.fields
    assert answer.status == 404


def test_old_clients_only_where_they_are_wanted() -> None:
    listening = Listening(old_clients=True)
    (answer,) = listening.send(b"GET / HTTP/1.0\r\n\r\n")
    assert answer.status == 200 and listening.wire.disconnecting
    for octets in (b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n", b"GET / HTTP/3.0\r\n\r\n"):
        (answer,) = Listening(old_clients=True).send(octets)
        assert answer.status in (400, 505)


def test_a_client_may_wait_for_leave_to_send_its_body(listening: Listening) -> None:
    expect = b"Expect: 100-continue\r\n\r\n"
    assert [each.status for each in listening.send(POST + b"Content-Length: 3\r\n" + expect)] == [100]
    assert [each.status for each in listening.send(b"abc")] == [200]
    assert [each.status for each in listening.send(POST + b"Content-Length: 101\r\n" + expect)] == [413]


@pytest.mark.parametrize(
    ("octets", "seconds", "answers"),
    [
        (b"", IDLE, []),
        (GET, IDLE, []),
        (b"G", HEAD_TIME, [408]),
        (b"GET / HTTP/1.1\r\n", HEAD_TIME, [408]),
        (POST + b"Content-Length: 100\r\n\r\nab", BODY_TIME + 1, [408]),
        (POST + CHUNKED + b"\r\n3\r\nab", BODY_TIME + 1, [408]),
    ],
)
def test_slow_clients(listening: Listening, octets: bytes, seconds: float, answers: list[int]) -> None:
    listening.send(octets)
    for _ in range(2):  # octets do not move the deadline
        listening.reactor.advance(seconds / 2 - 1)
        assert not listening.wire.disconnecting
        if octets and octets != GET:
            listening.channel.dataReceived(b"x" if octets.endswith(b"ab") else b"X: ")
    listening.reactor.advance(2)
    assert [each.status for each in listening.send(b"")] == answers or listening.wire.disconnecting
    assert listening.wire.disconnecting and not listening.wire.aborted
    listening.reactor.advance(60)
    assert listening.wire.aborted
    listening.lose()


def test_an_answer_may_take_its_time(listening: Listening) -> None:
    waiting: Deferred[HTTPAnswer] = Deferred()
    listening.application.answers = [waiting]
    assert listening.send(GET + GET) == []
    listening.reactor.advance(10_000)
    assert not listening.wire.disconnecting
    waiting.callback(HTTPAnswer.text("late"))
    assert [each.body[:4] for each in listening.send(b"")] == [b"late", b"GET "]
    listening.lose()


def test_a_client_that_leaves_cancels_its_request(listening: Listening) -> None:
    cancelled: list[object] = []
    listening.application.answers = [Deferred(cancelled.append)]
    listening.send(GET)
    listening.lose()
    assert len(cancelled) == 1


def test_a_bug_is_an_answer(listening: Listening) -> None:
    listening.application.answers = [ZeroDivisionError()]
    assert [each.status for each in listening.send(GET + GET)] == [500, 200]


async def _pieces():
    for _ in range(3):
        yield b"x" * 10
    raise ZeroDivisionError


@pytest.mark.parametrize("size", [None, 40])
def test_a_large_answer_waits_for_its_client(listening: Listening, size: int | None) -> None:
    listening.application.answers = [HTTPAnswer(200, pieces=_pieces, size=size)]
    listening.channel.pauseProducing()
    listening.channel.dataReceived(GET)
    before = listening.wire.value()
    for _ in range(3):
        listening.channel.resumeProducing()
        listening.channel.pauseProducing()
        listening.reactor.advance(STALLED - 1)
    assert len(listening.wire.value()) >= len(before)
    assert listening.wire.aborted, "the body is not whole: the client must see that"


def test_a_client_that_takes_nothing(listening: Listening) -> None:
    listening.application.answers = [HTTPAnswer(200, pieces=_pieces, size=40)]
    listening.channel.pauseProducing()
    listening.channel.dataReceived(GET)
    listening.reactor.advance(STALLED)
    listening.reactor.advance(15)
    assert listening.wire.aborted
    listening.lose()


def test_a_large_body_is_on_the_disk() -> None:
    listening = Listening()
    listening.application.most = 10 * IN_MEMORY
    octets = b"x" * 2 * IN_MEMORY
    (answer,) = listening.send(POST + b"Content-Length: %d\r\n\r\n" % len(octets) + octets, 65536)
    assert answer.body.endswith(octets)
    listening.lose()


def test_the_limits_of_the_mail_ports_count() -> None:
    limits = Limits(only_limits(connections_per_address=2), lambda: 0.0)
    listening = Listening(limits=limits)
    channel, _ = connect_http(listening.factory)
    assert connect_http(listening.factory)[0] is None
    assert connect_http(listening.factory, "192.0.2.2")[0] is not None
    channel.connectionLost(Failure(ConnectionLost()))
    assert connect_http(listening.factory)[0] is not None


def test_a_stop_lets_requests_end() -> None:
    listening = Listening()
    waiting: Deferred[HTTPAnswer] = Deferred()
    listening.application.answers = [waiting, Deferred()]
    listening.send(GET)
    stuck, stuck_wire = connect_http(listening.factory)
    stuck.dataReceived(GET)
    idle, idle_wire = connect_http(listening.factory)
    done: list[object] = []
    listening.factory.stop(5.0).addCallback(done.append)
    assert listening.application.stopped and idle_wire.disconnecting and not listening.wire.disconnecting
    listening.reactor.advance(1)
    assert idle_wire.aborted and not stuck_wire.aborted
    waiting.callback(HTTPAnswer.text("late"))
    (answer,) = listening.send(b"")
    assert answer.fields["connection"] == "close" and listening.wire.disconnecting
    listening.reactor.advance(4)
    assert stuck_wire.aborted and not done
    for channel in (listening.channel, stuck, idle):
        channel.connectionLost(Failure(ConnectionLost()))
    assert done == [None]
