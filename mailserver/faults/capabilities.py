"""Capabilities that are hidden or invented, in the replies to EHLO, LHLO (RFC 5321 section 4.1.1.1) and CAPA
(RFC 2449 section 5)."""

import re

import attrs

_NAME_END = re.compile(rb"[ =]")  # some lines have the old form AUTH=PLAIN


@attrs.define
class Capabilities:
    """The changes of one protocol's list. Names are compared without regard to case."""

    hidden: set[str] = attrs.field(factory=set)
    invented: list[str] = attrs.field(factory=list)

    def edit(self, moment: str, reply: bytes) -> bytes:
        """The reply with the changes, if it is one to EHLO, LHLO or CAPA."""
        if not (self.hidden or self.invented):
            return reply
        if moment in ("EHLO", "LHLO") and reply.startswith(b"250"):
            first, *lines = [line[4:] for line in reply.split(b"\r\n")[:-1]]
            lines = [first, *self._edited(lines)]
            last = len(lines) - 1
            return b"".join(
                b"250%s%s\r\n" % (b"-" if number < last else b" ", line) for number, line in enumerate(lines)
            )
        if moment == "CAPA" and reply.startswith(b"+OK"):
            head, *lines = reply.split(b"\r\n")[:-2]
            return b"\r\n".join([head, *self._edited(lines), b".", b""])
        return reply

    def _edited(self, lines: list[bytes]) -> list[bytes]:
        kept = [
            line for line in lines if _NAME_END.split(line)[0].decode("latin-1").upper() not in self.hidden
        ]
        return [*kept, *(line.encode() for line in self.invented)]
