"""The table of the API's requests, below ``/api/v1``. ``openapi`` makes the description from it."""

from collections.abc import Mapping
from enum import Enum
from functools import partial
from typing import Any

import attrs

from mailserver.http.exchange import JSON, OCTETS
from mailserver.http.fields import Member, MemberTable, choice, integer, number, strings, text
from mailserver.http.routes import HTTPRoute
from mailserver.queue.selection import STATES
from mailserver.web import administration, messages
from mailserver.web.context import ApiContext
from mailserver.web.removing import remove_message
from mailserver.web.sending import attachments, send_message
from mailserver.web.waiting import wait_for_message

BASE = "/api/v1"
SMALL_BODY = 1 << 20  # octets
MOST_PAGE = 500  # messages
LONGEST_WAIT = 300.0  # seconds


class Who(Enum):
    """Who may send a request."""

    ANYBODY = "anybody"
    ACCOUNT = "accounts, for their own mailbox, and administrators"
    ADMINISTRATOR = "administrators"


@attrs.frozen(kw_only=True)
class ApiRoute(HTTPRoute[ApiContext]):
    """A request of the API. ``schema`` is the name of that of the answer in JSON; "" if it is octets of the
    type ``media``, or nothing with the status 204. ``octets_type`` is the type of a body of octets."""

    who: Who = Who.ACCOUNT
    status: int = 200
    schema: str = ""
    media: str = JSON
    octets_type: str = ""

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (self.handler.__doc__ or "").splitlines()[0]

    @property
    def name(self) -> str:
        """A name of its own."""
        found: Any = self.handler
        return str(found.__name__)


def _text(description: str, required: bool = False, **schema: object) -> Member:
    return Member(text, required, {"type": "string", **schema}, description)


def _number(least: int, most: int, description: str) -> Member:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Member(integer(least, most), False, schema, description)


MAILBOX = _text("Address of the mailbox; by default the visitor's own.")
QUERY: Mapping[str, Member] = {
    "from": _text("Text in the From field, in any case."),
    "to": _text("Text in a To or Cc field, in any case."),
    "subject": _text("Text in the subject, in any case."),
    "text": _text("Text in the subject or in the body, in any case."),
}
LIST: MemberTable = {
    "mailbox": MAILBOX,
    **QUERY,
    "limit": _number(1, MOST_PAGE, "Most messages of the answer; 50 by default."),
    "cursor": _text('Where to go on: "next" of the last answer.'),
}
WAIT: MemberTable = {
    "mailbox": MAILBOX,
    **QUERY,
    "after": _text("Id of a message; only those behind it match."),
    "timeout": Member(
        number(0, LONGEST_WAIT),
        False,
        {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
        "Seconds to wait; 30 by default.",
    ),
}
ENVELOPE: MemberTable = {
    "from": _text("Reverse-path of a message in octets; by default the visitor's address."),
    "to": _text("Recipients of a message in octets, separated by commas."),
}
_ADDRESSES = {"type": "array", "items": {"type": "string"}}
MESSAGE: MemberTable = {
    "from": _text("Address of the author, with or without a name; by default the visitor's."),
    "to": Member(strings, True, _ADDRESSES, "Recipients."),
    "cc": Member(strings, False, _ADDRESSES, "Recipients of a copy."),
    "bcc": Member(strings, False, _ADDRESSES, "Recipients that the others do not see."),
    "subject": _text("Subject."),
    "text": _text("Plain text."),
    "html": _text("The same as HTML."),
    "attachments": Member(
        attachments,
        False,
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "content": {"type": "string", "contentEncoding": "base64"},
                    "content_type": {"type": "string"},
                    "filename": {"type": "string"},
                },
                "required": ["content"],
                "additionalProperties": False,
            },
        },
        "Files, in Base64.",
    ),
}

QUEUE: MemberTable = {
    "state": Member(choice(*STATES), False, {"type": "string", "enum": list(STATES)}, "State of recipients."),
    "sender": _text("Reverse-path."),
    "recipient": _text("Address of a recipient."),
    "domain": _text("Domain of recipients."),
    "cursor": _text('Where to go on: "next" of the last answer.'),
}
EVENTS: MemberTable = {"what": _text("Id of a message, or address of a sender or recipient.")}
_PASSWORD = _text("Password.", minLength=1, format="password")
ACCOUNT: MemberTable = {
    "address": _text("Address.", required=True, minLength=1),
    "password": _PASSWORD,
}
PASSWORD: MemberTable = {"password": attrs.evolve(_PASSWORD, required=True)}

_get = partial(ApiRoute, "GET")
_for_administrators = partial(ApiRoute, who=Who.ADMINISTRATOR)

ROUTES: tuple[ApiRoute, ...] = (
    _get("/messages", messages.list_messages, LIST, schema="Messages"),
    ApiRoute(
        "POST",
        "/messages",
        send_message,
        ENVELOPE,
        MESSAGE,
        schema="Sent",
        status=202,
        octets_type=messages.MESSAGE,
    ),
    # Before /messages/{message}: the first route that matches counts.
    _get("/messages/wait", wait_for_message, WAIT, schema="Summary"),
    _get("/messages/{message}", messages.show_message, schema="Message"),
    ApiRoute("DELETE", "/messages/{message}", remove_message, status=204),
    _get("/messages/{message}/raw", messages.raw_message, media=messages.MESSAGE),
    _get("/messages/{message}/parts/{part}", messages.show_part, media=OCTETS),
    _get("/health", administration.show_health, schema="Health"),
    _for_administrators("GET", "/accounts", administration.list_accounts, schema="Accounts"),
    _for_administrators("POST", "/accounts", administration.add_account, body=ACCOUNT, schema="Done"),
    _for_administrators("DELETE", "/accounts/{account}", administration.remove_account, schema="Done"),
    _for_administrators(
        "PUT", "/accounts/{account}/password", administration.set_password, body=PASSWORD, schema="Done"
    ),
    _for_administrators("GET", "/queue", administration.list_queue, QUEUE, schema="Queue"),
    _for_administrators("GET", "/queue/{queued}", administration.show_queued, schema="QueuedDetails"),
    _for_administrators("DELETE", "/queue/{queued}", administration.remove_queued, schema="Done"),
    _for_administrators("POST", "/queue/{queued}/retry", administration.retry_queued, schema="Done"),
    _for_administrators("POST", "/queue/{queued}/hold", administration.hold_queued, schema="Done"),
    _for_administrators("POST", "/queue/{queued}/release", administration.release_queued, schema="Done"),
    _for_administrators("GET", "/events", administration.list_events, EVENTS, schema="Events"),
)
