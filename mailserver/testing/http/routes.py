"""The table of requests to one server: method, path, parameters of the query, members of the body.

A path is below ``/api/v1`` for the first server, and below ``/api/v1/servers/ID`` for each other one.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import attrs

from mailserver.testing.http import handlers, mail_handlers
from mailserver.testing.http.exchange import HTTPAnswer, HTTPCall, HTTPProblem
from mailserver.testing.http.fields import (
    Member,
    MemberTable,
    boolean,
    choice,
    duration,
    integer,
    number,
    pattern,
    strings,
    text,
)
from mailserver.testing.http.mail_handlers import REGEX
from mailserver.testing.http.rules import RULE
from mailserver.testing.http.served import ServedMailServer

Handler = Callable[[ServedMailServer, HTTPCall], Awaitable[HTTPAnswer]]

LONGEST_WAIT = 600.0  # seconds
NOTHING: MemberTable = {}

PATTERN = Member(pattern)
TIMEOUT: MemberTable = {"timeout": Member(number(0, LONGEST_WAIT))}
MATCH: MemberTable = {
    **{name: Member(text) for name in ("to", "sender", "mailbox", "subject", "text")},
    **{f"{name}{REGEX}": PATTERN for name in ("to", "sender", "mailbox", "subject", "text")},
    "after": Member(text),
}
SESSION: MemberTable = {
    "protocol": Member(choice("smtp", "pop3")),
    "account": Member(text),
    "closed": Member(boolean),
}
PROTOCOL: MemberTable = {
    "hidden": Member(strings),
    "invented": Member(strings),
    "listening": Member(boolean),
}
ACCOUNT: MemberTable = {"address": Member(text, True), "password": Member(text)}
RELAY_REPLY: MemberTable = {
    "code": Member(integer(), True),
    "enhanced": Member(text),
    "text": Member(text),
    "to": Member(text),
    "times": Member(integer(1)),
}


@attrs.frozen
class HTTPRoute:
    """One kind of request. ``body`` has the members of the object in JSON, None if there is no such object.

    ``takes_octets``: the body is taken as it is.
    """

    method: str
    path: str
    handler: Handler
    query: MemberTable = NOTHING
    body: MemberTable | None = None
    takes_octets: bool = False

    def match(self, parts: list[str]) -> dict[str, str] | None:
        """The variable parts of a path, None if the path is another one."""
        wanted = self.path[1:].split("/")
        if len(wanted) != len(parts):
            return None
        found: dict[str, str] = {}
        for name, part in zip(wanted, parts, strict=True):
            if name.startswith("{"):
                found[name[1:-1]] = part
            elif name != part:
                return None
        return found


ROUTES = (
    HTTPRoute("GET", "/server", handlers.show_server),
    HTTPRoute("POST", "/reset", handlers.reset),
    HTTPRoute("GET", "/ca.pem", handlers.ca),
    HTTPRoute("GET", "/report", handlers.report),
    HTTPRoute("GET", "/rules", handlers.list_rules, {"never_fired": Member(boolean)}),
    HTTPRoute("POST", "/rules", handlers.make_rule, body=RULE),
    HTTPRoute("DELETE", "/rules", handlers.remove_rules),
    HTTPRoute("GET", "/rules/{rule}", handlers.show_rule),
    HTTPRoute("DELETE", "/rules/{rule}", handlers.remove_rule),
    HTTPRoute("GET", "/protocols/{protocol}", handlers.show_protocol),
    HTTPRoute("PATCH", "/protocols/{protocol}", handlers.change_protocol, body=PROTOCOL),
    HTTPRoute("POST", "/accounts", handlers.add_account, body=ACCOUNT),
    HTTPRoute("GET", "/messages", mail_handlers.list_messages, MATCH),
    HTTPRoute("POST", "/messages", mail_handlers.deliver, {"to": Member(text, True)}, takes_octets=True),
    # Before /messages/{message}: the first route that matches counts.
    HTTPRoute("GET", "/messages/wait", mail_handlers.wait_for_message, {**MATCH, **TIMEOUT}),
    HTTPRoute(
        "GET",
        "/messages/wait-for-count",
        mail_handlers.wait_for_messages,
        {"count": Member(integer(1), True), **MATCH, **TIMEOUT},
    ),
    HTTPRoute(
        "GET",
        "/messages/none",
        mail_handlers.expect_no_message,
        {**MATCH, "within": Member(number(0, LONGEST_WAIT))},
    ),
    HTTPRoute("GET", "/messages/{message}", mail_handlers.show_message),
    HTTPRoute("DELETE", "/messages/{message}", mail_handlers.vanish),
    HTTPRoute("GET", "/messages/{message}/raw", mail_handlers.raw_message),
    HTTPRoute("GET", "/messages/{message}/attachments/{number}", mail_handlers.attachment),
    HTTPRoute("GET", "/messages/{message}/link", mail_handlers.link, {"part": Member(text, True)}),
    HTTPRoute("GET", "/messages/{message}/code", mail_handlers.code, {"pattern": PATTERN}),
    HTTPRoute("GET", "/mailboxes", mail_handlers.list_mailboxes),
    HTTPRoute("POST", "/mailboxes/{mailbox}/reset-uidls", mail_handlers.reset_uidls),
    HTTPRoute("GET", "/outbox", mail_handlers.outbox),
    HTTPRoute("GET", "/relay/replies", handlers.show_relay),
    HTTPRoute("POST", "/relay/replies", handlers.add_relay_reply, body=RELAY_REPLY),
    HTTPRoute("DELETE", "/relay/replies", handlers.remove_relay_replies),
    HTTPRoute("GET", "/sessions", mail_handlers.list_sessions, SESSION),
    HTTPRoute("GET", "/sessions/wait", mail_handlers.wait_for_session, {**SESSION, **TIMEOUT}),
    HTTPRoute("GET", "/sessions/{session}", mail_handlers.show_session),
    HTTPRoute("GET", "/sessions/{session}/transcript", mail_handlers.transcript),
    HTTPRoute("GET", "/sessions/{session}/transcript.txt", mail_handlers.dialogue),
    HTTPRoute("GET", "/clock", handlers.show_clock),
    HTTPRoute("POST", "/clock/advance", handlers.advance_clock, body={"duration": Member(duration, True)}),
)


def find_route(method: str, path: str) -> tuple[HTTPRoute, dict[str, str]]:
    """The route of a request, and the variable parts of its path. Raises HTTPProblem, 404 or 405."""
    parts = [unquote(part) for part in path[1:].split("/")]
    allowed = []
    for route in ROUTES:
        if (found := route.match(parts)) is not None:
            if found.get("protocol", "smtp") not in ("smtp", "pop3"):
                raise HTTPProblem(404, f'There is no protocol "{found["protocol"]}"; allowed: smtp, pop3.')
            if route.method == method:
                return route, found
            allowed.append(route.method)
    if allowed:
        raise HTTPProblem(405, f"{method} is not possible here; allowed: {', '.join(allowed)}.")
    raise HTTPProblem(404, f'There is nothing at "{path}"; /api/v1/openapi.json describes what there is.')
