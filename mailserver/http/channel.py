r"""Reads the requests of one connection, on twisted.web, and is strict about their form (RFC 9112).

    request-line = method SP request-target SP HTTP-version CRLF
    request-target = origin-form / absolute-form        ; no others: no proxy, no server-wide OPTIONS
    field-line = field-name ":" OWS field-value OWS CRLF

A program in front of this server must not see other requests in the octets than this server does. So
everything that servers read in different ways ends the connection with 400: white space before a colon,
folded lines, bare line feeds, a repeated Content-Length, one together with Transfer-Encoding, other codings
than "chunked", and no Host field or two of them.

Each request has a deadline. It does not move with each octet that arrives: a slow client gains nothing.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from mailserver.http.exchange import SECURITY_FIELDS, HTTPAnswer, HTTPBody, HTTPHead, HTTPProblem

HEAD_SIZE = 16 * 1024  # octets of request line and header
FIELDS = 100
IDLE = 60.0  # seconds without a request, until the connection is closed
HEAD_TIME = 20.0  # seconds for a head
BODY_TIME = 30.0  # seconds for a body,
SLOWEST = 16 * 1024  # and for so many octets of it another second
STALLED = 60.0  # seconds for a client to take a piece of an answer
LINGER = 5.0  # seconds in which the rest of a rejected body is dropped

_LINE = re.compile(rb"([A-Za-z]{1,20}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,15}")


# twisted.web is not typed.
_Request: Any = Request
_HTTPChannel: Any = HTTPChannel


class HTTPExchange(_Request):  # type: ignore[misc]
    """One request and its answer."""

    head: HTTPHead
    body: HTTPBody | None = None

    def __init__(self, channel: "StrictChannel", queued: object = False) -> None:
        super().__init__(channel, queued, parsePOSTFormSubmission=False)

    def parseCookies(self) -> None:
        """See the base class: nobody here reads them this way."""

    def gotLength(self, length: int | None) -> None:
        """See the base class."""
        self.body = HTTPBody()

    def handleContentChunk(self, data: bytes) -> None:
        """See the base class."""
        if self.body is not None:
            self.body.append(data)
            if self.body.size > self.channel.most:
                self.channel.too_large()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """See the base class."""
        self.method, self.uri, self.clientproto = command, path, version
        self.channel.owner.serve(self)

    def connectionLost(self, reason: Failure) -> None:
        """See the base class."""
        super().connectionLost(reason)
        self.discard()

    def discard(self) -> None:
        """Free the body."""
        if self.body is not None:
            self.body.close()
            self.body = None


class StrictChannel(_HTTPChannel):  # type: ignore[misc]
    """One connection. ``owner`` is the factory of the listener (see ``listening``).

    ``client`` is the IP address of the client, ``key`` its name in the limits, and ``session`` the id of the
    connection. ``failed_logins`` counts those of the connection.
    """

    requestFactory = HTTPExchange
    owner: Any  # of this class; it would be a cycle of modules
    most = 0  # octets of the body
    failed_logins = 0

    def __init__(self, client: str, key: str, session: str) -> None:
        super().__init__()
        self.client = client
        self.key = key
        self.session = session
        self._in_head = False
        self._octets = 0
        self._fields: list[tuple[str, str]] = []
        self._rejected = self._closing = False
        self._drained: Deferred[None] | None = None

    # ------------------------------------------------------------ the beginning and the end

    def connectionMade(self) -> None:
        """See the base class."""
        self.timeOut = IDLE
        self.callLater = self.owner.reactor.callLater
        if hasattr(self.transport, "setTcpNoDelay") and self.client:
            self.transport.setTcpNoDelay(True)
        super().connectionMade()
        self.owner.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See the base class."""
        super().connectionLost(reason)
        if self._drained is not None:
            self._drained.cancel()
        self.owner.closed(self, reason)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._handlingRequest)

    def loseConnection(self) -> None:
        """See the base class. May be called more than once. A client that does not read is cut off later."""
        if not self._closing:
            self._closing = True
            self.setTimeout(None)
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            super().loseConnection()

    def end(self) -> None:
        """Close the connection, behind the answer if there is a request."""
        self.persistent = False
        if not self._handlingRequest:
            self.loseConnection()

    def abort(self) -> None:
        """Reset the connection."""
        self.transport.abortConnection()

    # ------------------------------------------------------------ time

    def resetTimeout(self) -> None:
        """See the base class: what arrives does not move a deadline."""

    def timeoutConnection(self) -> None:
        """See the base class."""
        if self._in_head and not self._rejected:
            self._reject(HTTPProblem(408, "The request was not complete in time."))
        self.loseConnection()

    def forceAbortClient(self) -> None:
        """See the base class."""
        self._abortingCall = None
        self.transport.abortConnection()

    # ------------------------------------------------------------ a head

    def dataReceived(self, data: bytes) -> None:
        """See the base class."""
        if not self._rejected:
            if not self._in_head and not self._handlingRequest:
                self._in_head = True
                self.setTimeout(HEAD_TIME)
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """See the base class."""
        if self._rejected or not self.persistent:
            return
        self._in_head = True
        self._octets += len(line) + 2
        if self._octets > HEAD_SIZE:
            self._reject(HTTPProblem(431, f"The head has more than {HEAD_SIZE} octets."))
        elif not hasattr(self, "_command"):
            self._request_line(line)
        elif line:
            self._field_line(line)
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """See the base class."""
        self._reject(HTTPProblem(431, f"The head has more than {HEAD_SIZE} octets."))

    def _request_line(self, line: bytes) -> None:
        found = _LINE.fullmatch(line)
        if not line:
            super().lineReceived(line)  # which allows one such line
        elif found is None:
            self._bad("The request line is malformed.")
        elif found[3] != b"1" or (found[4] == b"0" and not self.owner.old_clients):
            self._reject(HTTPProblem(505, "This server speaks HTTP/1.1."))
        else:
            super().lineReceived(line)

    def _field_line(self, line: bytes) -> None:
        found = _FIELD.fullmatch(line)
        if found is None:
            self._bad("A header field is malformed.")
            return
        name = found[1].lower()
        self._fields.append((name.decode(), found[2].rstrip(b" \t").decode("latin-1")))
        if len(self._fields) > FIELDS:
            self._reject(HTTPProblem(431, f"The header has more than {FIELDS} fields."))
            return
        super().lineReceived(line)

    def allHeadersReceived(self) -> None:
        """See the base class."""
        if self._rejected:
            return
        try:
            head = self._head()
        except HTTPProblem as problem:
            self._reject(problem)
            return
        self.requests[-1].head = head
        self.most = self.owner.application.max_body(head)
        if self.length is not None and self.length > self.most:
            self.too_large()
            return
        self.setTimeout(BODY_TIME + (self.most if self.length is None else self.length) / SLOWEST)
        super().allHeadersReceived()

    def _head(self) -> HTTPHead:
        values: dict[str, list[str]] = {}
        for name, value in self._fields:
            values.setdefault(name, []).append(value)
        target, version = self._path.decode("ascii"), self._version
        hosts = values.get("host", [])
        lengths, codings = values.get("content-length", []), values.get("transfer-encoding", [])
        if len(hosts) > 1 or (not hosts and version != b"HTTP/1.0"):
            raise _malformed("A request has one Host field.")
        if len(lengths) + len(codings) > 1 or (codings and version == b"HTTP/1.0"):
            raise _malformed("The length of the body is ambiguous.")
        if codings and codings[0].lower() != "chunked":
            raise _malformed('The only transfer coding here is "chunked".')
        if lengths and not _LENGTH.fullmatch(lengths[0].encode("latin-1")):
            raise _malformed("Content-Length is no number.")
        host = hosts[0] if hosts else ""
        if not target.startswith("/"):
            # RFC 9112 section 3.2.2: the target counts, and not the Host field.
            parts = urlsplit(target)
            if parts.scheme.lower() not in ("http", "https") or "@" in parts.netloc:
                raise _malformed("The target of the request is no path.")
            host, target = parts.netloc, target[len(parts.scheme) + 3 + len(parts.netloc) :] or "/"
        named = _HOST.fullmatch(host.lower())
        if named is None and hosts:
            raise _malformed("The Host field is malformed.")
        path, _, query = target.partition("?")
        return HTTPHead(
            method=self._command.decode("ascii"),
            target=path,
            query=query,
            fields=tuple(self._fields),
            host=named[1].strip("[]").rstrip(".") if named is not None else "",
            client=self.client,
            local=getattr(self.transport.getHost(), "host", "") or "",
            session=self.session,
            is_secure=self.owner.is_secure,
        )

    def allContentReceived(self) -> None:
        """See the base class."""
        if self._rejected:
            return
        self._in_head = False
        self._octets, self._fields = 0, []
        super().allContentReceived()

    def requestDone(self, request: HTTPExchange) -> None:
        """See the base class."""
        request.discard()
        self._savedTimeOut = IDLE
        super().requestDone(request)

    # ------------------------------------------------------------ an answer

    def drained(self) -> "Deferred[None]":
        """Fires when the client has taken what was written so far, but for a part."""
        done: Deferred[None] = Deferred()
        if self._waitingForTransport:
            self._drained = done
            self.setTimeout(STALLED)
        else:
            done.callback(None)
        return done

    def resumeProducing(self) -> None:
        """See the base class."""
        super().resumeProducing()
        waiting, self._drained = self._drained, None
        if waiting is not None:
            self.setTimeout(None)
            waiting.callback(None)

    # ------------------------------------------------------------ what is no request

    def too_large(self) -> None:
        """The body is too large. Most clients read the answer when they have sent some more of it."""
        if not self._rejected:
            self._reject(HTTPProblem(413, f"The body has more than {self.most} octets."), self._linger)

    def _linger(self) -> None:
        if self.owner.is_secure or not hasattr(self.transport, "loseWriteConnection"):
            self.loseConnection()
        else:
            self.transport.loseWriteConnection()
            self.setTimeout(LINGER)

    def _bad(self, detail: str) -> None:
        self._reject(_malformed(detail))

    def _reject(self, problem: HTTPProblem, close: Callable[[], None] | None = None) -> None:
        """Answer instead of the application, and read no further request."""
        self._rejected = True
        self.persistent = False
        answer = problem.answer
        head = [f"HTTP/1.1 {answer.status} {problem.title}", "Connection: close"]
        head += [f"{name}: {value}" for name, value in fields_of(answer).items()]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + answer.body)
        for request in self.requests:
            request.discard()
        (close or self.loseConnection)()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """See the base class."""
        if not self._rejected:
            self._bad("The request is malformed.")


def _malformed(detail: str) -> HTTPProblem:
    return HTTPProblem(400, detail)


def fields_of(answer: HTTPAnswer) -> dict[str, str]:
    """The header fields of an answer."""
    fields = dict(SECURITY_FIELDS)
    if answer.content_type:
        fields["Content-Type"] = answer.content_type
    if answer.length is not None:
        fields["Content-Length"] = str(answer.length)
    return {**fields, **answer.fields}
