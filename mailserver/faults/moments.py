"""The moments of a session at which a rule may act, and the acts that make sense there.

A moment is a verb in upper case, or one of the names in :data:`MOMENTS`. At a verb the rule acts when the
command has arrived, before it runs; changes of the reply apply to its reply.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from mailserver.faults.acts import Act, Ending, Lie, Plan, ReplyChange, Say, SendingMode, Swap
from mailserver.faults.names import VERBS, hint

SMTP, POP3 = "smtp", "pop3"

CONNECT, GREETING, TLS, AUTH_STEP = "connect", "greeting", "tls", "auth step"
DOT, STORED, REMOVED = "dot", "stored", "removed"

BOTH = (SMTP, POP3)
_LAST_REPLIES = ("QUIT", "STARTTLS", "STLS", REMOVED)  # of a session, or in the clear
_WITH_SIZES = ("STAT", "LIST", "RETR")
_WITH_TEXT = ("DATA", "BDAT")
_OWN_VERB = re.compile(r"X[A-Z0-9_-]*")


@attrs.frozen
class Moment:
    """One moment. ``says``: octets may be sent. ``changes``: there is a reply to change. ``counts``: a rule
    may act at an octet of that reply."""

    name: str
    about: str
    protocols: tuple[str, ...] = BOTH
    says: bool = True
    changes: bool = True
    counts: bool = True


MOMENTS: Mapping[str, Moment] = {
    moment.name: moment
    for moment in (
        Moment(
            CONNECT, "The client has connected. Nothing is sent, no TLS begun.", changes=False, counts=False
        ),
        Moment(GREETING, "The server is about to send its greeting."),
        Moment(
            TLS, "The client is about to begin its TLS handshake.", says=False, changes=False, counts=False
        ),
        Moment(AUTH_STEP, "A response of the client in an exchange of AUTH has arrived."),
        Moment(
            DOT, "A message is complete, by its final dot or its last chunk, and not stored yet.", (SMTP,)
        ),
        Moment(STORED, "A message is stored, and its 250 not sent yet.", (SMTP,), counts=False),
        Moment(
            REMOVED,
            "QUIT has removed the marked messages, and its reply is not sent yet.",
            (POP3,),
            counts=False,
        ),
    )
}
VERB = Moment("VERB", "The command VERB has arrived.")
TEXT = Moment(
    "DATA at n, BDAT at n",
    "So many octets of the message have arrived.",
    (SMTP,),
    changes=False,
)
REPLY = Moment("VERB at n", "So many octets of the reply are sent.")


def check_moment(protocol: str, name: str, at: int | None, own: Iterable[str] = ()) -> str:
    """The moment with this name in its usual spelling.

    Verbs that the server does not know begin with X, or are among those of the test's ``own``. Raises
    ValueError for all others.
    """
    found = MOMENTS.get(name.lower())
    if found is not None:
        if protocol not in found.protocols:
            raise ValueError(f'{protocol} has no moment "{found.name}"')
        if at is not None and not found.counts:
            raise ValueError(f'"{found.name}" has no octets to count')
        moment = found.name
    else:
        moment = name.upper()
        _check_verb(protocol, moment, own)
    if at is not None:
        is_text = moment in _WITH_TEXT
        if at < is_text:
            raise ValueError(f"at: {at}; allowed: {int(is_text)} and more")
    return moment


def _check_verb(protocol: str, verb: str, own: Iterable[str]) -> None:
    known = VERBS[protocol]
    if verb in known or verb in own or _OWN_VERB.fullmatch(verb):
        return
    if (first := verb.partition(" ")[0]) in known:
        raise ValueError(f'no moment "{verb}"; the verb is "{first}", and the argument comes after it')
    moments = [each.name for each in MOMENTS.values() if protocol in each.protocols]
    raise ValueError(f'no moment "{verb}"; {hint(verb, [*known, *moments])}')


def moment_of(name: str, at: int | None) -> Moment:
    """The row of the table for a moment of :func:`check_moment`."""
    if name in MOMENTS:
        return MOMENTS[name]
    if at is None:
        return VERB
    return TEXT if name in _WITH_TEXT else REPLY


def check_acts(protocol: str, name: str, at: int | None, acts: Sequence[Act]) -> None:
    """Raise ValueError if an act makes no sense at a moment, or not after the act before it."""
    moment = moment_of(name, at)
    for act in acts:
        if isinstance(act, ReplyChange | SendingMode) and not moment.changes:
            raise ValueError(f'no reply to change at "{moment.name}"')
        if isinstance(act, Say) and not moment.says:
            raise ValueError(f'nothing can be sent at "{moment.name}"')
        if act is Ending.CUT and name != TLS:
            raise ValueError(f'a TLS handshake can be cut only at "{TLS}"')
        if isinstance(act, Lie) and (protocol != POP3 or name not in _WITH_SIZES or at is not None):
            raise ValueError("only the replies to STAT, LIST and RETR of POP3 have sizes")
        if isinstance(act, Swap):
            if name in _LAST_REPLIES:
                raise ValueError(f'no reply comes after the one at "{name}"')
            if at is not None:
                raise ValueError("only a whole reply can be sent after the next one")
    Plan.of(acts)
