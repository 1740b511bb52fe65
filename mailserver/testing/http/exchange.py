"""Requests and answers of the fixture's HTTP, as values. Errors are problem details (RFC 9457)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import attrs

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"


@attrs.frozen
class HTTPAnswer:
    """One answer."""

    status: int = 204
    body: bytes = b""
    content_type: str = ""

    @classmethod
    def of(cls, value: object, status: int = 200, content_type: str = JSON) -> "HTTPAnswer":
        """An answer in JSON. A surrogate, which is not in UTF-8, is written as an escape."""
        text = json.dumps(value, ensure_ascii=False) + "\n"
        return cls(status, text.encode(errors="backslashreplace"), content_type)

    @classmethod
    def text(cls, text: str) -> "HTTPAnswer":
        """An answer in plain text."""
        return cls(200, text.encode(), TEXT)


class HTTPProblem(Exception):
    """A request that cannot be done. ``detail`` is a sentence; ``more`` are further members of the problem
    details."""

    def __init__(self, status: int, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail if detail.endswith(("?", ".")) else f"{detail}."
        self.more = more

    @property
    def answer(self) -> HTTPAnswer:
        """The answer that says so."""
        title = HTTPStatus(self.status).phrase
        found = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return HTTPAnswer.of({**found, **self.more}, self.status, PROBLEM)


@attrs.frozen
class HTTPCall:
    """One request, already checked against its route.

    ``path`` has the variable parts of the path, ``query`` the parameters that were given, ``body`` the
    values of the object in JSON, ``given`` that object, or ``octets`` the body as it is.
    """

    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]
    given: Mapping[str, Any]
    octets: bytes
