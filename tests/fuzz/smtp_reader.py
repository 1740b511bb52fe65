"""Reads an SMTP session's replies as a client would, and says where they do not fit what was sent.

It knows nothing of the session's code: lines end with LF, a message ends with CRLF "." CRLF (RFC 5321
section 4.1.1.4) and each command has one reply whose code is one of those that may answer it.
"""

import re
from collections import Counter

from tests.fuzz.broken import check
from tests.smtp.smtp_fakes import FakeServer

REPLY = re.compile(rb"(?:([2-5][0-9][0-9])-[ -~]*\r\n)*([2-5][0-9][0-9]) ([2-5]\.[0-9]+\.[0-9]+ )?[ -~]*\r\n")
MAX_REPLY_LINE = 512
COMMAND_LINE = 512
ADDRESS = {450, 451, 452, 501, 503, 504, 550, 551, 552, 553, 554, 555}
CODES = {
    b"HELO": {250, 501, 503}, b"EHLO": {250, 501, 503}, b"MAIL": {250} | ADDRESS,
    b"RCPT": {250, 251} | ADDRESS,
    b"DATA": {354, 501, 503}, b"RSET": {250, 501}, b"NOOP": {250, 501}, b"QUIT": {221, 501},
    b"HELP": {214, 501, 504}, b"VRFY": {250, 251, 252} | ADDRESS, b"EXPN": {250, 252} | ADDRESS,
    b"TURN": {502}, b"SEND": {502}, b"SOML": {502}, b"SAML": {502},
}  # fmt: skip
UNKNOWN = {500}
TEXT = {250, 451, 452, 500, 550, 552, 554}
GOING = {221, 421}
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def split_replies(said: bytes) -> list[int]:
    """The code of each reply, all of which must be well-formed."""
    codes, end = [], 0
    while end < len(said):
        found = REPLY.match(said, end)
        check(found is not None, "replies are well-formed", said[end : end + 200])
        assert found is not None
        whole = found[0]
        lines = whole.split(b"\r\n")[:-1]
        check(len({line[:3] for line in lines}) == 1, "one code in a reply", whole)
        check(max(map(len, lines)) + 2 <= MAX_REPLY_LINE, "reply lines are short enough", whole)
        check(
            found[3] is None or found[3][:1] == found[2][:1], "enhanced codes are of the reply's class", whole
        )
        codes.append(int(found[2]))
        end = found.end()
    return codes


def read(sent: bytes, said: bytes, server: FakeServer, seen: Counter[str]) -> None:
    """Check what was said after the greeting against all that was sent; count it in ``seen``."""
    codes = iter(split_replies(said))
    kept: list[tuple[int, bytes]] = []
    recipients = 0
    code = 0
    rest = sent
    while code not in GOING and b"\n" in rest:
        line, _, rest = rest.partition(b"\n")
        line = line.removesuffix(b"\r")
        name = line.rstrip(b" \t").partition(b" ")[0].upper()
        code = next(codes, 0)
        check(code != 0, "each command has a reply", line[:100])
        allowed = CODES.get(name, UNKNOWN) | {421} | ({500} if len(line) + 2 > COMMAND_LINE else set())
        check(code in allowed, "replies answer their commands, in order", line[:100], "got", code)
        seen[f"{name.decode() if name in CODES else 'unknown'} {code}"] += 1
        if name in (b"MAIL", b"RSET", b"HELO", b"EHLO") and code == 250:
            recipients = 0
        elif name == b"RCPT" and code in (250, 251):
            recipients += 1
        elif code == 354:
            text, end, after = (b"\r\n" + rest).partition(b"\r\n.\r\n")
            rest = after
            if not end:
                break
            code = next(codes, 0)
            check(code in TEXT | {421}, "each message has a reply", text[-100:], "got", code)
            seen[f"text {code}"] += 1
            if code == 250:
                kept.append((recipients, content_of(text + b"\r\n", server)))
            recipients = 0
    check(next(codes, 0) == 0, "nothing is said unasked", said[-200:])
    check(server.session.closed == (code in GOING), "221 and 421 end the session, and nothing else does")
    found = [(len(one.started.recipients), one.content) for one in server.kept]
    check(found == kept, "what is answered 250 is kept, and is what was sent", found, "wanted", kept)


def content_of(text: bytes, server: FakeServer) -> bytes:
    """The message that a text stands for, from the CRLF before it to the CRLF at its end."""
    content = text.replace(b"\r\n.", b"\r\n")[2:]
    return _BARE.sub(b"\r\n", content) if server.settings.bare_newline == "normalize" else content
