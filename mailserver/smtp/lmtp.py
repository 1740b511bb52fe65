"""The verb table of LMTP (RFC 2033): that of SMTP, with LHLO, and a reply for each recipient of a message.

DATA without an accepted recipient gets a 503, as in SMTP (section 4.2).
"""

import attrs

from mailserver.smtp.commands import SMTPCommands
from mailserver.smtp.replies import reply
from mailserver.smtp.states import SMTPState
from mailserver.smtp.verbs import END_OF_TEXT, LAST_CHUNK, VERBS, SMTPVerb

_NOT_LMTP = reply(500, "5.5.1", "this is LMTP; send LHLO")  # section 4.1

_END_FOR_EACH = attrs.evolve(
    END_OF_TEXT, answered=SMTPCommands.recipients_judged, reads=SMTPCommands.read_text_for_each
)


_LAST_CHUNK = attrs.evolve(
    LAST_CHUNK, answered=SMTPCommands.recipients_judged, reads=SMTPCommands.read_last_chunk_for_each
)


def _row(verb: SMTPVerb) -> SMTPVerb:
    reasons = dict(verb.reasons)
    if SMTPState.CONNECTED in reasons:
        reasons[SMTPState.CONNECTED] = "send LHLO first"
    return attrs.evolve(verb, reasons=reasons, last=verb.last and _row(_LAST_CHUNK))


_LHLO = attrs.evolve(VERBS["EHLO"], syntax="LHLO host", run=SMTPCommands.lhlo)
_DATA = attrs.evolve(VERBS["DATA"], followed_by=_END_FOR_EACH)

LMTP_VERBS: dict[str, SMTPVerb] = {
    "LHLO": _LHLO,
    **{name: _row(verb) for name, verb in (VERBS | {"DATA": _DATA}).items() if name not in ("HELO", "EHLO")},
    **{name: attrs.evolve(VERBS[name], barred=_NOT_LMTP) for name in ("HELO", "EHLO")},
}
