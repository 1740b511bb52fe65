"""The schemas of the API's answers (JSON Schema, as OpenAPI 3.1 has it)."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "minimum": 0}
MOMENT: Schema = {"type": "string", "format": "date-time"}


def record(**members: Schema) -> Schema:
    """An object that has all of these members and no others."""
    return {
        "type": "object",
        "properties": {name.rstrip("_"): schema for name, schema in members.items()},
        "required": [name.rstrip("_") for name in members],
        "additionalProperties": False,
    }


def items(schema: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": schema}


def named(name: str) -> Schema:
    """A reference to one of :data:`SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Schema) -> Schema:
    """This, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


_SUMMARY: dict[str, Schema] = {
    "id": TEXT,
    "mailbox": TEXT,
    "uid": TEXT,
    "size": NUMBER,
    "received": MOMENT,
    "from_": TEXT,
    "to": TEXT,
    "subject": TEXT,
    "date": TEXT,
}

SCHEMAS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
        },
        "required": ["type", "title", "status", "detail"],
    },
    "Summary": record(**_SUMMARY),
    "Messages": record(messages=items(named("Summary")), total=NUMBER, next=or_null(TEXT)),
    "Sent": record(id=TEXT),
    "Header": record(name=TEXT, value=TEXT),
    "Part": record(
        number={"type": "integer", "minimum": 1},
        content_type=TEXT,
        filename=TEXT,
        size=NUMBER,
        is_attachment={"type": "boolean"},
    ),
    "Message": record(
        **_SUMMARY,
        headers=items(named("Header")),
        text=TEXT,
        html=TEXT,
        parts=items(named("Part")),
    ),
}
