"""BDAT (RFC 3030 section 2): the size of the chunk, which must be known whatever the reply is.

The octets of a chunk follow the command at once. A server that does not count them as the client does takes
text for commands. So the octets of a rejected BDAT are discarded, and a BDAT whose size cannot be read ends
the session.

    bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ] CRLF
    chunk-size = 1*DIGIT
    end-marker = "LAST"
"""

import re

import attrs

from mailserver.session.verbs import Refused
from mailserver.smtp import replies
from mailserver.smtp.replies import Reply
from mailserver.wire.lines import Line

_ARGUMENT = re.compile(rb"[ \t]*([0-9]{1,20})(?:[ \t]+(LAST))?(\Z|[ \t].*)", re.IGNORECASE | re.DOTALL)


@attrs.frozen
class ChunkCommand:
    """``size`` is the number of octets that follow. ``is_correct``: there is nothing else in the argument."""

    size: int
    is_last: bool
    is_correct: bool

    @classmethod
    def read(cls, raw: bytes) -> "ChunkCommand":
        """Read an argument. Raises :class:`~mailserver.session.verbs.Refused` if the size is not known."""
        argument = _ARGUMENT.fullmatch(raw)
        if argument is None:
            raise Refused(replies.BAD_CHUNK_SIZE)
        return cls(int(argument[1]), argument[2] is not None, not argument[3].strip())


def unreadable(line: Line, beginning: bytes) -> Reply:
    """The reply to a command line that is discarded, of which only the ``beginning`` is known."""
    reply = replies.BARE_NEWLINE_IN_COMMAND if line is Line.BARE_NEWLINE else replies.LINE_TOO_LONG
    return attrs.evolve(reply, last=True) if beginning[:4].upper() == b"BDAT" else reply
