"""Looks up commands: the verb table of a session, and the texts of HELP.

A session of SMTP and one of LMTP have a table each. A table has fewer legal commands before a login, and more
after a HELO whose name was rejected.
"""

from collections.abc import Mapping
from functools import cache

import attrs

from mailserver.session.verbs import Refused
from mailserver.smtp import replies
from mailserver.smtp.chunks import unreadable
from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.lmtp import LMTP_VERBS
from mailserver.smtp.replies import Reply
from mailserver.smtp.states import SMTPState
from mailserver.smtp.verbs import COMMAND_LINE, VERBS, SMTPVerb
from mailserver.wire.foreign import is_http
from mailserver.wire.lines import Line


@cache
def table(lmtp: bool, before_login: bool, unnamed: bool) -> Mapping[bytes, SMTPVerb]:
    """The table for a session.

    ``before_login``: mail needs a login, and the client has not logged in. ``unnamed``: the client has sent
    HELO, EHLO or LHLO, perhaps with a name that was rejected; all commands of an idle session are legal.
    """
    verbs = LMTP_VERBS if lmtp else VERBS
    barred = (replies.LMTP_LOGIN_NEEDED if lmtp else replies.LOGIN_NEEDED) if before_login else None
    return {name.encode(): _row(verb, barred, unnamed) for name, verb in verbs.items()}


def _row(verb: SMTPVerb, barred: Reply | None, unnamed: bool) -> SMTPVerb:
    if barred is not None and verb.needs_login:
        verb = attrs.evolve(verb, barred=barred)
    if unnamed and SMTPState.CONNECTED in verb.reasons:
        then, reasons = dict(verb.then), dict(verb.reasons)
        del reasons[SMTPState.CONNECTED]
        if SMTPState.IDLE in then:
            then[SMTPState.CONNECTED] = then[SMTPState.IDLE]
        else:
            reasons[SMTPState.CONNECTED] = reasons[SMTPState.IDLE]
        verb = attrs.evolve(verb, then=then, reasons=reasons)
    return attrs.evolve(verb, last=_row(verb.last, barred, unnamed)) if verb.last is not None else verb


def read_command(line: bytes, verbs: Mapping[bytes, SMTPVerb]) -> tuple[SMTPVerb, bytes]:
    """The verb of a command line, looked up in ``verbs``, and its unparsed argument.

    Raises :class:`~mailserver.session.verbs.Refused`.
    """
    # Trailing white space is accepted (RFC 5321 section 4.1.1).
    name, _, raw = line.rstrip(b" \t").partition(b" ")
    if b"\t" in name:
        name = name.partition(b"\t")[0]
        raw = line[len(name) :]
    verb = verbs.get(name.upper())
    if len(line) + 2 > (verb.max_line if verb else COMMAND_LINE):
        raise Refused(unreadable(Line.TOO_LONG, line))
    if verb is None:
        raise Refused(replies.HTTP if is_http(line) else replies.UNKNOWN_COMMAND)
    return verb, raw


def help_lines(topic: str, lmtp: bool = False) -> tuple[str, ...] | None:
    """The lines of HELP: all commands, one command or one extension; None for an unknown topic."""
    verbs = LMTP_VERBS if lmtp else VERBS
    if not topic:
        names = " ".join(verb.name for verb in verbs.values() if verb.barred is None)
        return (f"Commands: {names}", "HELP topic explains a command or an extension")
    name = topic.upper()
    extensions = {extension.keyword: extension.about for extension in EXTENSIONS}
    if name in verbs:
        verb = verbs[name]
        return (verb.syntax, verb.barred.reason if verb.barred else verb.about)
    if name in extensions:
        return (extensions[name],)
    return None
