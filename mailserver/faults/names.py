"""The names that a rule or a hidden capability may have: verbs and keywords, by protocol."""

import difflib
from collections.abc import Iterable, Mapping

from mailserver.pop3.capabilities import CAPABILITIES as POP3_CAPABILITIES
from mailserver.pop3.verbs import VERBS as POP3_VERBS
from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.verbs import VERBS as SMTP_VERBS

VERBS: Mapping[str, frozenset[str]] = {
    "smtp": frozenset(SMTP_VERBS),
    "pop3": frozenset(name.decode() for name in POP3_VERBS),
}
CAPABILITIES: Mapping[str, frozenset[str]] = {
    "smtp": frozenset(extension.keyword for extension in EXTENSIONS),
    "pop3": frozenset(capability.tag for capability in POP3_CAPABILITIES),
}


def hint(name: str, known: Iterable[str]) -> str:
    """The one of ``known`` that is most like ``name``, or all of them, for the text of an error."""
    folded = {each.casefold(): each for each in sorted(known)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    if near:
        return f'did you mean "{folded[near[0]]}"?'
    return "allowed: " + ", ".join(f'"{each}"' for each in folded.values())
