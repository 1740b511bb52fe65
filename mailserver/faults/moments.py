"""The moments of a session at which a rule may act, and the acts that make sense there.

A moment is a verb in upper case, or one of the names in :data:`MOMENTS`. At a verb the rule acts when the
command has arrived, before it runs; changes of the reply apply to its reply.
"""

from collections.abc import Mapping, Sequence

import attrs

from mailserver.faults.acts import Act, Ending, Lie, ReplyChange, Say

SMTP, POP3 = "smtp", "pop3"

CONNECT, GREETING, TLS, AUTH_STEP = "connect", "greeting", "tls", "auth step"
DOT, STORED, REMOVED = "dot", "stored", "removed"


@attrs.frozen
class Moment:
    """One moment. ``changes``: there is a reply to change. ``says``: octets may be sent."""

    name: str
    about: str
    protocols: tuple[str, ...] = (SMTP, POP3)
    changes: bool = True
    says: bool = True


MOMENTS: Mapping[str, Moment] = {
    moment.name: moment
    for moment in (
        Moment(CONNECT, "The client has connected. Nothing has been sent, no TLS begun.", changes=False),
        Moment(GREETING, "The server is about to send its greeting."),
        Moment(TLS, "The client is about to begin its TLS handshake.", changes=False, says=False),
        Moment(AUTH_STEP, "A response of the client in an exchange of AUTH has arrived."),
        Moment(
            DOT, "A message is complete, by its final dot or its last chunk, and not stored yet.", (SMTP,)
        ),
        Moment(STORED, "A message is stored, and its 250 not sent yet.", (SMTP,)),
        Moment(REMOVED, "QUIT has removed the marked messages, and its reply is not sent yet.", (POP3,)),
    )
}
VERB = Moment("VERB", "The command VERB has arrived.")
TEXT = Moment("DATA at n, BDAT at n", "So many octets of a message have arrived.", (SMTP,), changes=False)
REPLY = Moment("VERB at n", "So many octets of the reply are sent.")


def check_moment(protocol: str, name: str, at: int | None) -> str:
    """The moment with this name in its usual spelling. Raises ValueError if there is none."""
    found = MOMENTS.get(name.lower())
    if found is not None:
        if protocol not in found.protocols:
            raise ValueError(f'{protocol} has no moment "{found.name}"')
        if at is not None and not found.changes:
            raise ValueError(f'"{found.name}" has no octets to count')
        return found.name
    verb = name.upper()
    if not (verb.isascii() and verb.isalnum()):
        known = ", ".join(f'"{moment.name}"' for moment in MOMENTS.values() if protocol in moment.protocols)
        raise ValueError(f'no moment "{name}"; allowed: a verb, {known}')
    return verb


def moment_of(name: str, at: int | None) -> Moment:
    """The row of the table for a moment of :func:`check_moment`."""
    if name in MOMENTS:
        return MOMENTS[name]
    if at is None:
        return VERB
    return TEXT if name in ("DATA", "BDAT") else REPLY


def check_acts(name: str, at: int | None, acts: Sequence[Act]) -> None:
    """Raise ValueError if an act makes no sense at a moment."""
    moment = moment_of(name, at)
    for act in acts:
        if isinstance(act, ReplyChange) and not moment.changes:
            raise ValueError(f'no reply to change at "{moment.name}"')
        if isinstance(act, Say) and not moment.says:
            raise ValueError(f'nothing can be sent at "{moment.name}"')
        if act is Ending.CUT and name != TLS:
            raise ValueError(f'a TLS handshake can be cut only at "{TLS}"')
        if isinstance(act, Lie) and name not in ("STAT", "LIST", "RETR"):
            raise ValueError("only STAT, LIST and RETR have sizes")


def is_allowed(name: str, at: int | None, act: Act) -> bool:
    """Whether an act makes sense at a moment."""
    try:
        check_acts(name, at, [act])
    except ValueError:
        return False
    return True
