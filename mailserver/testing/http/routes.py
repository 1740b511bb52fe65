"""The table of requests to one server: method, path, parameters of the query, members of the body.

A path is below ``/api/v1`` for the first server, and below ``/api/v1/servers/ID`` for each other one.
"""

from mailserver.http.exchange import HTTPProblem
from mailserver.http.fields import (
    Member,
    MemberTable,
    boolean,
    choice,
    integer,
    number,
    pattern,
    strings,
    text,
)
from mailserver.http.routes import HTTPRoute, find_route
from mailserver.testing.http import handlers, mail_handlers
from mailserver.testing.http.mail_handlers import REGEX
from mailserver.testing.http.rules import RULE, duration
from mailserver.testing.http.served import ServedMailServer

LONGEST_WAIT = 600.0  # seconds

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


ServedRoute = HTTPRoute[ServedMailServer]

ROUTES = (
    ServedRoute("GET", "/server", handlers.show_server),
    ServedRoute("POST", "/reset", handlers.reset),
    ServedRoute("GET", "/ca.pem", handlers.ca),
    ServedRoute("GET", "/report", handlers.report),
    ServedRoute("GET", "/rules", handlers.list_rules, {"never_fired": Member(boolean)}),
    ServedRoute("POST", "/rules", handlers.make_rule, body=RULE),
    ServedRoute("DELETE", "/rules", handlers.remove_rules),
    ServedRoute("GET", "/rules/{rule}", handlers.show_rule),
    ServedRoute("DELETE", "/rules/{rule}", handlers.remove_rule),
    ServedRoute("GET", "/protocols/{protocol}", handlers.show_protocol),
    ServedRoute("PATCH", "/protocols/{protocol}", handlers.change_protocol, body=PROTOCOL),
    ServedRoute("POST", "/accounts", handlers.add_account, body=ACCOUNT),
    ServedRoute("GET", "/messages", mail_handlers.list_messages, MATCH),
    ServedRoute("POST", "/messages", mail_handlers.deliver, {"to": Member(text, True)}, takes_octets=True),
    # Before /messages/{message}: the first route that matches counts.
    ServedRoute("GET", "/messages/wait", mail_handlers.wait_for_message, {**MATCH, **TIMEOUT}),
    ServedRoute(
        "GET",
        "/messages/wait-for-count",
        mail_handlers.wait_for_messages,
        {"count": Member(integer(1), True), **MATCH, **TIMEOUT},
    ),
    ServedRoute(
        "GET",
        "/messages/none",
        mail_handlers.expect_no_message,
        {**MATCH, "within": Member(number(0, LONGEST_WAIT))},
    ),
    ServedRoute("GET", "/messages/{message}", mail_handlers.show_message),
    ServedRoute("DELETE", "/messages/{message}", mail_handlers.vanish),
    ServedRoute("GET", "/messages/{message}/raw", mail_handlers.raw_message),
    ServedRoute("GET", "/messages/{message}/attachments/{number}", mail_handlers.attachment),
    ServedRoute("GET", "/messages/{message}/link", mail_handlers.link, {"part": Member(text, True)}),
    ServedRoute("GET", "/messages/{message}/code", mail_handlers.code, {"pattern": PATTERN}),
    ServedRoute("GET", "/mailboxes", mail_handlers.list_mailboxes),
    ServedRoute("POST", "/mailboxes/{mailbox}/reset-uidls", mail_handlers.reset_uidls),
    ServedRoute("GET", "/outbox", mail_handlers.outbox),
    ServedRoute("GET", "/relay/replies", handlers.show_relay),
    ServedRoute("POST", "/relay/replies", handlers.add_relay_reply, body=RELAY_REPLY),
    ServedRoute("DELETE", "/relay/replies", handlers.remove_relay_replies),
    ServedRoute("GET", "/sessions", mail_handlers.list_sessions, SESSION),
    ServedRoute("GET", "/sessions/wait", mail_handlers.wait_for_session, {**SESSION, **TIMEOUT}),
    ServedRoute("GET", "/sessions/{session}", mail_handlers.show_session),
    ServedRoute("GET", "/sessions/{session}/transcript", mail_handlers.transcript),
    ServedRoute("GET", "/sessions/{session}/transcript.txt", mail_handlers.dialogue),
    ServedRoute("GET", "/clock", handlers.show_clock),
    ServedRoute("POST", "/clock/advance", handlers.advance_clock, body={"duration": Member(duration, True)}),
)


def find_served(method: str, path: str) -> tuple[ServedRoute, dict[str, str]]:
    """The route of a request, and the variable parts of its path. Raises HTTPProblem, 404 or 405."""
    route, found = find_route(ROUTES, method, path)
    if found.get("protocol", "smtp") not in ("smtp", "pop3"):
        raise HTTPProblem(404, f'There is no protocol "{found["protocol"]}"; allowed: smtp, pop3.')
    return route, found
