"""Requests and answers as values. Errors are problem details (RFC 9457)."""

import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import attrs
from twisted.python.failure import Failure

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
IN_MEMORY = 256 * 1024  # octets of a body; a larger one is in a temporary file without a name

# In each answer, unless it has another value for it.
SECURITY_FIELDS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class HTTPBody:
    """The body of a request. ``size`` is its length in octets."""

    def __init__(self) -> None:
        self.size = 0
        self._file: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by close()

    def append(self, data: bytes) -> None:
        """Add octets."""
        self._file.write(data)
        self.size += len(data)

    def read(self, offset: int = 0, octets: int = -1) -> bytes:
        """The octets from ``offset`` on, all of them or at most ``octets``. May block."""
        self._file.seek(offset)
        found: bytes = self._file.read(octets)
        return found

    def close(self) -> None:
        """Free the memory or the disk."""
        self._file.close()


@attrs.frozen(kw_only=True)
class HTTPHead:
    """A request without its body.

    ``target`` is the path, as it was sent, and ``query`` what follows the question mark. ``fields`` has the
    header fields in order, with names in lower case. ``host`` is the name or the address in the Host field,
    in lower case and without a port. ``client`` is the IP address of the client, "" for a unix socket, and
    ``local`` that of this server. ``session`` is the id of the connection in the log.
    """

    method: str
    target: str
    query: str = ""
    fields: Sequence[tuple[str, str]] = ()
    host: str = ""
    client: str = ""
    local: str = ""
    session: str = ""
    is_secure: bool = False

    def field(self, name: str) -> str | None:
        """The value of a header field, None if there is none. Several values are joined by commas."""
        found = [value for each, value in self.fields if each == name]
        return ", ".join(found) if found else None


@attrs.frozen
class HTTPRequest:
    """A request."""

    head: HTTPHead
    body: HTTPBody


@attrs.frozen
class HTTPAnswer:
    """One answer.

    ``pieces`` makes the octets of a large body, whose length is ``size``; None if it is not known. ``ends``:
    the connection is closed behind the answer.
    """

    status: int = 204
    body: bytes = b""
    content_type: str = ""
    fields: Mapping[str, str] = attrs.field(factory=dict)
    pieces: Callable[[], AsyncIterator[bytes]] | None = None
    size: int | None = None
    ends: bool = False

    @classmethod
    def of(cls, value: object, status: int = 200, content_type: str = JSON) -> "HTTPAnswer":
        """An answer in JSON. A surrogate, which is not in UTF-8, is written as an escape."""
        text = json.dumps(value, ensure_ascii=False) + "\n"
        return cls(status, text.encode(errors="backslashreplace"), content_type)

    @classmethod
    def text(cls, text: str, status: int = 200) -> "HTTPAnswer":
        """An answer in plain text."""
        return cls(status, text.encode(), TEXT)

    @property
    def length(self) -> int | None:
        """The value of the field Content-Length; None if there is none."""
        if self.status == 204:
            return None
        return len(self.body) if self.pieces is None else self.size


class HTTPProblem(Exception):
    """A request that cannot be done. ``detail`` is a sentence; ``more`` are further members of the problem
    details. ``fields`` are header fields of the answer."""

    def __init__(
        self, status: int, detail: str, fields: Mapping[str, str] = {}, ends: bool = False, **more: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail if detail.endswith(("?", ".")) else f"{detail}."
        self.fields = fields
        self.ends = ends
        self.more = more

    @property
    def title(self) -> str:
        """The name of the status."""
        return HTTPStatus(self.status).phrase

    @property
    def answer(self) -> HTTPAnswer:
        """The answer that says so."""
        found = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        answer = HTTPAnswer.of({**found, **self.more}, self.status, PROBLEM)
        return attrs.evolve(answer, fields=self.fields, ends=self.ends)


class HTTPApplication(Protocol):
    """Answers the requests of a listener."""

    def max_body(self, head: HTTPHead) -> int:
        """The most octets that the body of a request may have."""

    async def answer(self, request: HTTPRequest) -> HTTPAnswer:
        """The answer to a request. Raises HTTPProblem. Cancelled if the client disconnects."""

    def failed(self, head: HTTPHead, failure: Failure) -> HTTPAnswer:
        """The answer for a request that has failed unexpectedly. Reports the failure."""

    def stop(self) -> None:
        """The server stops: requests that wait for an event are answered now."""
