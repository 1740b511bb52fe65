"""What clients see, as objects for JSON: servers, rules, messages, sessions."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from mailserver import __version__
from mailserver.mail.address import Address
from mailserver.mail.mime import attempt, clean
from mailserver.testing.http.served import ServedMailServer
from mailserver.testing.message import CaughtMessage
from mailserver.testing.sessions import Session

View = dict[str, Any]
_SCHEMES = {"smtps": "smtps", "pop3": "pop3", "pop3s": "pop3s"}


def moment(seconds: float) -> str:
    """The time in the form of RFC 3339, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def server_view(served: ServedMailServer) -> View:
    """A server: its settings and its listeners."""
    server = served.server
    settings = server.settings
    names = ("accept", "seed", "tls", "profile", "hostname", "domain")
    listeners = []
    for name, (protocol, tls) in settings.listeners.items():
        port = server.ports[name]
        host = f"[{port.host}]" if ":" in port.host else port.host
        url = f"{_SCHEMES.get(name, 'smtp')}://{host}:{port.port}"
        listeners.append(
            {"name": name, "protocol": protocol, "tls": tls, "host": port.host, "port": port.port, "url": url}
        )
    return {
        "id": served.id,
        "version": __version__,
        "settings": {**{name: getattr(settings, name) for name in names}, **settings.sections},
        "listeners": listeners,
        "time": moment(server.clock.time()),
    }


def protocol_view(served: ServedMailServer, name: str) -> View:
    """The capabilities of a protocol, and whether it listens."""
    instance = served.server.instance
    capabilities = instance.scripts[name].capabilities
    return {
        "hidden": sorted(capabilities.hidden),
        "invented": list(capabilities.invented),
        "listening": instance.listens(name),
    }


def rule_view(served: ServedMailServer, id: str) -> View:
    """A rule, with how often it has acted."""
    rule = served.rule(id)
    return {
        "id": id,
        "rule": served.given(id),
        "description": str(rule),
        "fired": rule.fired,
        "seen": rule.seen,
    }


def message_view(served: ServedMailServer, message: CaughtMessage, ids: dict[int, str] | None = None) -> View:
    """A message with its texts. Its attachments are described only."""
    session = message.session
    return {
        "id": (ids or served.ids())[id(message)],
        "queue_id": message.id,
        "mailbox": message.mailbox or None,
        "in_mailbox": _is_in_mailbox(served, message),
        "sender": message.sender,
        "recipients": list(message.recipients),
        "received_at": moment(message.received_at),
        "size": len(message.raw),
        "session": session.id if isinstance(session, Session) else None,
        "subject": message.subject,
        "headers": _headers(message),
        "text": message.text,
        "html": message.html,
        "links": message.links(),
        "attachments": [
            {
                "number": number,
                "filename": each.filename,
                "content_type": each.content_type,
                "size": len(each.data),
            }
            for number, each in enumerate(message.attachments, 1)
        ],
    }


def message_views(served: ServedMailServer, messages: list[CaughtMessage]) -> View:
    """Several messages."""
    ids = served.ids()
    return {"messages": [message_view(served, each, ids) for each in messages]}


def _is_in_mailbox(served: ServedMailServer, message: CaughtMessage) -> bool:
    if not message.mailbox:
        return False
    uid = served.server.inbox.uid(message)
    return served.server.instance.store.has(Address.parse(message.mailbox), uid)


def _headers(message: CaughtMessage) -> list[View]:
    return [
        {"name": clean(name), "value": clean(_decoded(message, name, value))}
        for name, value in message.email.raw_items()
    ]


def _decoded(message: CaughtMessage, name: str, value: Any) -> str:
    policy = message.email.policy
    return attempt(lambda: str(policy.header_fetch_parse(name, value)), lambda: str(value))


def session_view(session: Session) -> View:
    """A session without its transcript."""
    transcript = session.transcript
    return {
        "id": session.id,
        "protocol": session.protocol,
        "client": session.client,
        "began": moment(transcript.began),
        "tls": session.tls,
        "mechanism": session.mechanism,
        "account": session.account,
        "closed": session.closed,
        "verbs": Counter(entry.verb for entry in transcript.entries if entry.kind == "command"),
        "commands": transcript.commands,
        "replies": transcript.replies,
    }


def transcript_view(session: Session) -> View:
    """The transcript of a session."""
    _, *entries = session.transcript.json_lines().splitlines()
    return {"id": session.id, "entries": [json.loads(each) for each in entries]}
