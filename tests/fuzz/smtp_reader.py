"""Reads an SMTP session's replies as a client would, and says where they do not fit what was sent.

It knows nothing of the session's code: lines end with LF, a message ends with CRLF "." CRLF (RFC 5321
section 4.1.1.4), a login goes on for as long as it is answered 334 (RFC 4954), what stands behind STARTTLS
without waiting is gone (RFC 3207), and each line has one reply whose code is one of those that may answer it.
"""

import re
from collections import Counter

from tests.fuzz.broken import check
from tests.fuzz.known import usable
from tests.fuzz.proofs import Transcript
from tests.fuzz.sent import Sent, Stream
from tests.fuzz.servers import SmtpServer

_WORDS = rb"[ -~\x80-\xff]*\r\n"
REPLY = re.compile(
    rb"(?:([2-5][0-9][0-9])-%s)*([2-5][0-9][0-9]) ([2-5]\.[0-9]+\.[0-9]+ )?%s" % (_WORDS, _WORDS)
)
MAX_REPLY_LINE = 512
COMMAND_LINE = 512
AUTH_LINE = 12288
ADDRESS = {450, 451, 452, 501, 503, 504, 550, 551, 552, 553, 554, 555, 556}
LONG_PART = 340  # octets of base64: the longest name has 255
RESPONSE = {235, 334, 454, 500, 501, 535}
CODES = {
    b"HELO": {250, 501}, b"EHLO": {250, 501}, b"MAIL": {250, 530} | ADDRESS,
    b"STARTTLS": {220, 454, 501, 502, 503}, b"AUTH": RESPONSE | {502, 503, 504, 538},
    b"RCPT": {250, 251, 530} | ADDRESS,
    b"DATA": {354, 501, 503, 530}, b"BDAT": {501},
    b"RSET": {250, 501}, b"NOOP": {250, 501}, b"QUIT": {221, 501},
    b"HELP": {214, 501, 504}, b"VRFY": {250, 251, 252, 530} | ADDRESS, b"EXPN": {250, 252, 530} | ADDRESS,
    b"ETRN": {251, 252, 253, 458, 459, 501, 502, 503, 530},
    b"ATRN": {250, 450, 451, 453, 501, 502, 503, 530},
    b"XCLIENT": {220, 421, 501, 503, 550}, b"XFORWARD": {250, 501, 503, 550},
    b"TURN": {502}, b"SEND": {502}, b"SOML": {502}, b"SAML": {502},
}  # fmt: skip
OF_LMTP = {**CODES, b"LHLO": CODES[b"EHLO"], b"HELO": {500}, b"EHLO": {500}}
UNKNOWN = {500}
TEXT = {250, 451, 452, 500, 550, 552, 554}
GOING = {221, 421}
NEED_LOGIN = {b"MAIL", b"RCPT", b"DATA", b"VRFY", b"EXPN", b"ETRN", b"ATRN"}
WEB = re.compile(rb"[!-~]+ .* HTTP/[0-9](\.[0-9])?[ \r]*")  # the first line of a browser (RFC 9112 section 3)
HELLOS = {b"HELO": "SMTP", b"EHLO": "ESMTP", b"LHLO": "LMTP"}
READ_SECRETS = {235, 334, 454, 535}
LOGIN = re.compile(rb"(?i:LOGIN)=alice(?![^ \t\r])")
CHUNK = re.compile(rb"BDAT[ \t]+([0-9]{1,20})((?:[ \t].*)?)", re.IGNORECASE | re.DOTALL)
_CHUNKED_LINE_END = re.compile(rb"\r{0,16}\n")
_LINE_END = re.compile(rb"\r{0,16}\n\.?")


def split_replies(said: bytes) -> list[tuple[int, bytes]]:
    """Code and octets of each reply, all of which must be well-formed."""
    replies, end = [], 0
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
        replies.append((int(found[2]), whole))
        end = found.end()
    return replies


class _Reader:
    """What a client knows of the session so far."""

    def __init__(self, sent: Sent, said: bytes, server: SmtpServer, seen: Counter[str]) -> None:
        self.sent = sent
        self.replies = iter(split_replies(said))
        self.server = server
        self.settings = server.settings
        self.codes = OF_LMTP if server.settings.lmtp else CODES
        self.seen = seen
        self.secure = server.secure
        self.protocol = ""  # that of the greeting, "" before
        self.user = ""
        self.recipients = 0
        self.in_transaction = False
        self.trusted = server.settings.xclient
        self.named = False  # by the last command, XCLIENT
        self.attributes: set[bytes] = set()  # that XCLIENT has named
        self.utf8 = self.binary = False  # in this transaction
        self.chunks: bytes | None = None  # of its message so far
        self.failed = False  # whether one of them was rejected
        self.over = False
        self.login: Transcript | None = None
        self.longest = 0  # octets of a response of the login
        self.kept: list[tuple[int, str, bytes]] = []

    @property
    def mechanisms(self) -> frozenset[str]:
        settings = self.settings
        return usable(settings.mechanisms, self.secure, settings.plaintext_auth)

    @property
    def in_the_clear(self) -> bool:
        """Whether AUTH must not begin."""
        return not (self.secure or self.settings.plaintext_auth)

    def read(self) -> None:
        code = 0
        while not self.over and (line := self.sent.line()) is not None:
            line = line.rstrip(b"\r")
            chunk = self.chunk_command(line)
            if chunk is not None:
                octets = self.sent.take(int(chunk[1]))
                if octets is None:
                    break
                code = self.chunk(octets, chunk[2])
                self.over = code in GOING
                continue
            code, reply = next(self.replies, (0, b""))
            check(code != 0, "each command has a reply", line[:100])
            if self.sent.bare and self.settings.bare_newline == "reject":
                failed = RESPONSE - {235, 334} | ({421} if self.settings.max_login_failures else set())
                self.told(line, code, {500} if self.login is None else failed)
                self.seen[f"bare newline {code}"] += 1
                self.over = self.login is None and line[:4].upper() == b"BDAT"
                self.login = None
            elif self.login is not None:
                self.response(line, code, reply)
            else:
                self.command(line, code, reply)
            self.named = code == 220 and line[:7].upper() == b"XCLIENT"
            if code == 354:
                code = self.text()
            is_reversed = code == 250 and line[:4].upper() == b"ATRN"
            self.over = self.over or code in GOING or is_reversed
        check(next(self.replies, None) is None, "nothing is said unasked")
        closed = self.server.session.closed or self.server.reversed_for is not None
        check(closed == self.over, "the session ends when it says so", code)
        check(self.server.discarded == self.sent.lost, "what stands behind STARTTLS is gone, no more")
        check(self.server.session.user == self.user, "who has proven it has logged in", self.user)
        found = [(len(one.started.recipients), one.started.protocol, one.content) for one in self.server.kept]
        check(found == self.kept, "what is answered 250 is kept, and is what was sent", found, self.kept)

    def told(self, line: bytes, code: int, allowed: set[int]) -> None:
        if self.settings.max_errors:
            allowed = allowed | {421}
        check(code in allowed, "replies answer their commands, in order", line[:100], "got", code)

    def command(self, line: bytes, code: int, reply: bytes) -> None:
        name, _, argument = line.rstrip(b" \t").replace(b"\t", b" ").partition(b" ")
        name = name.upper()
        longest = AUTH_LINE if name == b"AUTH" else COMMAND_LINE
        is_long = len(line) + 2 > longest
        allowed = self.codes.get(name, UNKNOWN) | ({500} if is_long else set())
        if name == b"AUTH":
            self.begin(line[4:].strip(b" \t"), code, reply)  # no tab separates the response
            if self.settings.max_login_failures:
                allowed = allowed | {421}
        if name == b"MAIL" and self.settings.max_messages:
            allowed = allowed | {421}
        self.told(line, code, allowed)
        self.check_utf8(name, argument, code, reply)
        self.over = name not in self.codes and not is_long and WEB.fullmatch(line) is not None
        if name == b"BDAT" or (is_long and name[:4] == b"BDAT"):
            self.over = True  # nobody knows how many octets follow
            return
        self.seen[f"{name.decode() if name in self.codes else 'unknown'} {code}"] += 1
        if name in NEED_LOGIN and self.settings.needs_login and not self.user:
            check(
                code in (530, 500, 421), "nothing goes without a login where mail needs one", line[:100], code
            )
        elif name != b"ATRN" or self.user:
            check(code != 530, "530 is for mail that needs a login, and ATRN", line[:100])
        if name in (b"HELO", b"EHLO", b"LHLO") and code == 501 and not self.settings.strict_syntax:
            self.protocol = self.protocol or "SMTP"  # only the name was wrong
        if code == 354:
            check(self.chunks is None and not self.binary, "DATA and BDAT are not mixed", line)
        if code not in (220, 250, 251):
            return
        if name in (*HELLOS, b"RSET", b"STARTTLS", b"MAIL"):
            self.chunks, self.failed = None, False
        if name in HELLOS:
            self.in_transaction, self.recipients = False, 0
            self.protocol = HELLOS[name]
            if name != b"HELO":
                self.offered(reply)
        elif name == b"STARTTLS":
            check(self.settings.starttls and not self.secure, "TLS begins once, where it is offered")
            self.sent.forget()
            self.secure, self.user, self.protocol, self.in_transaction = True, "", "", False
        elif name == b"XCLIENT":
            check(self.trusted or self.named, "only who is trusted names a client", line)
            check(not self.in_transaction, "a client is named between transactions", line)
            attributes = {word.partition(b"=")[0].upper() for word in argument.split()}
            check(not attributes & self.attributes, "no attribute of a client changes", line, self.attributes)
            check(not (b"ADDR" in self.attributes and b"LOGIN" in attributes), "ADDR is the last", line)
            if LOGIN.search(line) or not self.attributes:
                self.user = "alice@example.org" if LOGIN.search(line) else ""
            self.trusted, self.protocol = False, ""
            self.attributes |= attributes
        elif name == b"XFORWARD":
            is_trusted = self.settings.xforward and b"ADDR" not in self.attributes
            check(is_trusted and not self.in_transaction, "only who is trusted names a client", line)
        elif name == b"MAIL":
            check(bool(self.protocol), "nothing goes without HELO or EHLO, after TLS too", line[:100])
            self.in_transaction, self.recipients = True, 0
            parameters = argument.upper().removeprefix(b"FROM:").split()[1:]  # the first word is the path
            self.utf8 = b"SMTPUTF8" in parameters
            self.binary = b"BODY=BINARYMIME" in parameters
        elif name == b"RSET":
            self.in_transaction, self.recipients = False, 0
        elif name == b"RCPT":
            self.recipients += 1

    def check_utf8(self, name: bytes, argument: bytes, code: int, reply: bytes) -> None:
        """Only who asks for UTF-8 gets it (RFC 6531 section 3.7.4), and only who asks may send it."""
        asked = argument.upper().endswith(b" SMTPUTF8") if name in (b"VRFY", b"EXPN") else self.utf8
        if not reply.isascii():
            check(reply.decode() != "" and asked, "UTF-8 is said to those who ask for it", argument, reply)
            check(name in (b"RCPT", b"VRFY", b"EXPN"), "only replies about an address have UTF-8", reply)
        if name == b"RCPT" and code in (250, 251):
            check(asked or argument.isascii(), "UTF-8 needs SMTPUTF8", argument)
        if name == b"MAIL" and code == 250:
            check(b"SMTPUTF8" in argument.upper() or argument.isascii(), "UTF-8 needs SMTPUTF8", argument)

    def offered(self, reply: bytes) -> None:
        """EHLO and LHLO list what may be used now."""
        words = [line[4:].split() for line in reply.split(b"\r\n")[1:-1]]
        listed = {words[0]: set(words[1:]) for words in words}
        may_tls = self.settings.starttls and not self.secure
        check((b"XCLIENT" in listed) == self.trusted, "EHLO lists XCLIENT for the trusted", reply)
        check((b"STARTTLS" in listed) == may_tls, "EHLO lists STARTTLS where it can be had", reply)
        wanted = set() if self.user else {name.encode() for name in self.mechanisms}
        check(listed.get(b"AUTH", set()) == wanted, "EHLO lists the mechanisms that can be used", reply)

    # ------------------------------------------------------------ logins

    def begin(self, argument: bytes, code: int, reply: bytes) -> None:
        mechanism, _, initial = argument.partition(b" ")
        name = mechanism.upper().decode("latin-1")
        if code in (504, 538):
            check((code == 538) == self.in_the_clear, "538 is for AUTH without TLS", argument, code)
        possible = bool(self.protocol) and not self.in_transaction and not self.user
        if not (possible and name in self.mechanisms):
            check(code not in READ_SECRETS, "a secret is read only where a login is possible", argument, code)
        elif code != 500:
            self.login, self.longest = Transcript(name), len(initial)
            self.login.begin(initial or None)
            self.went_on(code, reply)

    def response(self, line: bytes, code: int, reply: bytes) -> None:
        assert self.login is not None
        self.login.say(line)
        self.told(line, code, RESPONSE | ({421} if self.settings.max_login_failures else set()))
        is_long = len(line) + 2 > AUTH_LINE
        self.longest = max(self.longest, len(line))  # LOGIN looks at both responses at the end
        may_be_long = is_long or self.longest > LONG_PART
        check(
            may_be_long if code == 500 else not is_long or code in (421, 535),
            "500 is for long responses",
            code,
        )
        self.seen[f"response {code}"] += 1
        self.went_on(code, reply)

    def went_on(self, code: int, reply: bytes) -> None:
        """What became of the exchange."""
        login = self.login
        assert login is not None
        if code == 334:
            login.hear(reply[4:-2])
            return
        self.login = None
        if code == 235:
            self.user = f"{login.granted(self.server.passwords)}@example.org"
            self.seen[f"{login.mechanism} in"] += 1
        elif not self.server.down:
            login.refused(self.server.passwords)

    # ------------------------------------------------------------ messages

    def chunk_command(self, line: bytes) -> re.Match[bytes] | None:
        """The argument of a BDAT that tells how many octets follow."""
        if self.login is not None or len(line) + 2 > COMMAND_LINE:
            return None
        if self.sent.bare and self.settings.bare_newline == "reject":
            return None
        return CHUNK.fullmatch(line.rstrip(b" \t"))

    def chunk(self, octets: bytes, rest: bytes) -> int:
        """The octets of a BDAT, with the ``rest`` of its argument; the code of the last reply to it."""
        words = rest.replace(b"\t", b" ").strip(b" ").upper()
        is_last = words.partition(b" ")[0] == b"LAST"
        possible = self.in_transaction and self.recipients > 0
        if self.settings.needs_login and not self.user:
            allowed = {530}
        elif not possible:
            allowed = {503}
        else:
            allowed = {501} if words not in (b"", b"LAST") else TEXT | {501}
        replies = self.recipients if possible and is_last and self.settings.lmtp else 1
        codes = [next(self.replies, (0, b""))[0] for _ in range(replies)]
        for code in codes:
            self.told(b"BDAT" + rest[:40], code, allowed)
            self.seen[f"chunk {code}"] += 1
        if not possible or codes[-1] in GOING:
            return codes[-1]
        check(not (self.failed and 250 in codes), "a message lacks no chunk", octets)
        self.failed = self.failed or 250 not in codes
        self.chunks = (self.chunks or b"") + octets
        if is_last:
            self.keep(codes, self.chunks if self.binary else chunked(self.chunks, self.server))
        return codes[-1]

    def text(self) -> int:
        """A message; the code of the reply to it, 0 if it does not end."""
        text = self.sent.text()
        if text is None:
            return 0
        # LMTP: each recipient has a reply.
        codes = [next(self.replies, (0, b""))[0] for _ in range(self.recipients if self.settings.lmtp else 1)]
        for code in codes:
            check(code in TEXT | {421}, "each message has a reply", text[-100:], "got", code)
            self.seen[f"text {code}"] += 1
        self.keep(codes, content_of(text, self.server))
        return codes[-1]

    def keep(self, codes: list[int], content: bytes) -> None:
        """The message has ended, with these replies to it."""
        if 250 in codes:
            protocol = self.protocol
            if self.utf8:
                protocol = "UTF8LMTP" if protocol == "LMTP" else "UTF8SMTP"
            if protocol != "SMTP":
                protocol += ("S" if self.secure else "") + ("A" if self.user else "")
            recipients = codes.count(250) if self.settings.lmtp else self.recipients
            self.kept.append((recipients, protocol, content))
        self.in_transaction, self.recipients = False, 0
        self.chunks, self.failed = None, False


def read(stream: Stream, said: bytes, server: SmtpServer, seen: Counter[str]) -> Sent:
    """Check what was said after the greeting against all that was sent; count it in ``seen``."""
    reader = _Reader(Sent(stream), said, server, seen)
    reader.read()
    return reader.sent


def chunked(octets: bytes, server: SmtpServer) -> bytes:
    """The message that the octets of all chunks stand for."""
    if server.settings.bare_newline == "reject":
        return octets
    return _CHUNKED_LINE_END.sub(b"\n", octets).replace(b"\r", b" ").replace(b"\n", b"\r\n")


def content_of(text: bytes, server: SmtpServer) -> bytes:
    """The message that a text stands for."""
    content = b"\r\n" + text
    if server.settings.bare_newline == "reject":
        return content.replace(b"\r\n.", b"\r\n")[2:]
    lines = _LINE_END.sub(b"\n", content).replace(b"\r", b" ")
    return lines.replace(b"\n", b"\r\n")[2:]
