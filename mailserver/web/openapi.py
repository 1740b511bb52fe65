"""The description of the API as an OpenAPI 3.1 document, made from the table of routes."""

import re
from functools import cache
from http import HTTPStatus
from typing import Any

from mailserver import __version__
from mailserver.http.fields import MemberTable
from mailserver.web.routes import BASE, ROUTES, ApiRoute, Who
from mailserver.web.schemas import SCHEMAS, named

_VARIABLE = re.compile(r"\{(\w+)\}")
_PROBLEM = {"$ref": "#/components/responses/Problem"}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailserver",
            "version": __version__,
            "description": "Messages, accounts and the queue of a mail server. Errors are problem details "
            "(RFC 9457).",
        },
        "servers": [{"url": BASE}],
        "security": [{"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {
                "Problem": {
                    "description": "It cannot be done; the answer says why.",
                    "content": {"application/problem+json": {"schema": named("Problem")}},
                }
            },
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def _operation(route: ApiRoute) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"For {route.who.value}.",
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for name in _VARIABLE.findall(route.path)
            ),
            *_parameters(route.query),
        ],
        "responses": {str(route.status): _answer(route), "default": _PROBLEM},
    }
    if route.who is Who.ANYBODY:
        found["security"] = []
    content: dict[str, Any] = {}
    if route.body is not None:
        content["application/json"] = {"schema": _schema_of(route.body)}
    if route.octets_type:
        content[route.octets_type] = {"schema": {"type": "string", "contentMediaType": route.octets_type}}
    if content:
        found["requestBody"] = {"required": True, "content": content}
    return found


def _answer(route: ApiRoute) -> dict[str, Any]:
    described: dict[str, Any] = {"description": f"{HTTPStatus(route.status).phrase}."}
    if route.schema:
        described["content"] = {route.media: {"schema": named(route.schema)}}
    elif route.status != HTTPStatus.NO_CONTENT:
        described["content"] = {route.media: {}}
    return described


def _parameters(members: MemberTable) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": member.required,
            "description": member.description,
            "schema": dict(member.schema),
        }
        for name, member in members.items()
    ]


def _schema_of(members: MemberTable) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            name: {**member.schema, "description": member.description} for name, member in members.items()
        },
        "required": [name for name, member in members.items() if member.required],
        "additionalProperties": False,
    }
