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

_QUEUED: dict[str, Schema] = {
    "id": or_null(TEXT),
    "received": or_null(TEXT),
    "sender": or_null(TEXT),
    "size": or_null(NUMBER),
    "recipients": items(named("QueuedRecipient")),
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
    "Done": record(done=TEXT),
    "Health": record(accepts_mail={"type": "boolean"}, problem=TEXT),
    "Accounts": record(accounts=items(named("Account"))),
    "Account": record(
        address=TEXT,
        is_configured={"type": "boolean"},
        is_disabled={"type": "boolean"},
        password=or_null(TEXT),
        app_passwords=NUMBER,
    ),
    "Queue": record(messages=items(named("Queued")), next=or_null(TEXT)),
    "Queued": record(**_QUEUED),
    "QueuedDetails": record(messages=items(named("QueuedDetail"))),
    "QueuedDetail": record(**_QUEUED, unsynced=items(TEXT), damage=TEXT, header=or_null(TEXT)),
    "QueuedRecipient": record(
        address=or_null(TEXT),
        original=or_null(TEXT),
        destination=TEXT,
        state=TEXT,
        attempts=or_null(NUMBER),
        next=or_null(TEXT),
        last=or_null(named("Attempt")),
    ),
    "Attempt": record(time=or_null(TEXT), status=TEXT, reason=TEXT, host=TEXT, reply=TEXT),
    "Events": record(events=items(named("Event"))),
    "Event": {
        "type": "object",
        "properties": {"time": MOMENT, "namespace": TEXT, "event": TEXT, "id": TEXT},
        "required": ["time", "namespace", "event", "id"],
    },
    "Message": record(
        **_SUMMARY,
        headers=items(named("Header")),
        text=TEXT,
        html=TEXT,
        parts=items(named("Part")),
    ),
}
