"""A client of the fixture's HTTP. It checks each request and each answer against the OpenAPI file."""

import json
import re
import smtplib
from collections.abc import Mapping
from email.message import EmailMessage
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import attrs
from jsonschema import Draft202012Validator

from mailserver.testing.http.control import OPENAPI

DOCUMENT: dict[str, Any] = json.loads(OPENAPI.read_text())
VARIABLE = re.compile(r"\{(\w+)\}")


def operation(method: str, path: str) -> dict[str, Any]:
    """The description of a request; a path without variables goes before one with them."""
    wanted = path.split("/")
    for template in sorted(DOCUMENT["paths"], key=lambda template: template.count("{")):
        parts = template.split("/")
        if len(parts) == len(wanted) and all(
            part == name or part.startswith("{") for part, name in zip(parts, wanted, strict=True)
        ):
            found: dict[str, Any] = DOCUMENT["paths"][template]
            if method.lower() in found:
                described: dict[str, Any] = found[method.lower()]
                return described
    raise AssertionError(f"{method} {path} is not in the OpenAPI file")


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for."""
    while "$ref" in value:
        found: Any = DOCUMENT
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def validate(schema: dict[str, Any], value: object) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


@attrs.frozen
class Answered:
    """An answer; ``value`` is its JSON, if it is that."""

    status: int
    headers: Mapping[str, str]
    octets: bytes
    value: Any


@attrs.frozen
class Api:
    """``base`` is the URL of the API, or of one more server in it."""

    base: str

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, object] = {},
        headers: Mapping[str, str] = {},
    ) -> Answered:
        """Send a request. ``body`` is sent as it is if it is bytes."""
        parts = urlsplit(self.base)
        connection = HTTPConnection(parts.hostname or "", parts.port or 0, timeout=60)
        target = parts.path + quote(path) + (f"?{urlencode(query)}" if query else "")
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, target, sent, dict(headers))
        response = connection.getresponse()
        octets = response.read()
        connection.close()
        kind = response.getheader("Content-Type", "")
        value = json.loads(octets) if "json" in kind else None
        return Answered(response.status, dict(response.getheaders()), octets, value)

    def __call__(self, method: str, path: str, body: object = None, /, **query: object) -> Any:
        """A request that is described, with an answer that is described: its JSON, or its octets."""
        described = operation(method, path)
        names = {resolved(each)["name"] for each in described.get("parameters", ())}
        assert set(query) <= names
        if isinstance(body, dict):
            validate(described["requestBody"]["content"]["application/json"]["schema"], body)
        answered = self.ask(method, path, body, query)
        assert str(answered.status) in described["responses"], answered
        assert answered.status < 400, answered.value
        content = described["responses"][str(answered.status)].get("content")
        if content is None:
            assert answered.octets == b""
            return None
        [(media, inner)] = content.items()
        assert answered.headers["Content-Type"] == media
        if answered.value is None:
            return answered.octets
        validate(inner["schema"], answered.value)
        return answered.value

    def problem(self, status: int, method: str, path: str, body: object = None, /, **query: object) -> Any:
        """A request that is not possible: its problem details."""
        answered = self.ask(method, path, body, query)
        assert answered.status == status, answered
        assert answered.headers["Content-Type"] == "application/problem+json"
        validate({"$ref": "#/components/schemas/Problem"}, answered.value)
        assert answered.value["status"] == status
        assert re.search(r"[.?]\Z", answered.value["detail"]), answered.value
        return answered.value

    def ports(self) -> dict[str, int]:
        return {each["name"]: each["port"] for each in self("GET", "/server")["listeners"]}

    def send(self, subject: str = "Reset", to: str = "bob@example.test") -> None:
        """Send a message with a text, a link, a code and an attachment."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "shop@example.test", to, subject
        message.set_content("Your code is 123456.\nhttps://shop.example.test/reset/abc\n")
        message.add_attachment(b"\x00\x01", maintype="image", subtype="png", filename="a.png")
        with smtplib.SMTP("127.0.0.1", self.ports()["smtp"]) as smtp:
            smtp.send_message(message)
