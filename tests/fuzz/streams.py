"""Makes the streams: from fragments of the grammar, from dialogues that are spoilt, from noise."""

from random import Random

from tests.fuzz import logins
from tests.fuzz.sent import Stream
from tests.fuzz.targets import Target

MAX_STREAM = 16384  # octets, so that one session costs little and a run has many

SMTP_START = (
    (b"EHLO client.example\r\n",),
    (b"HELO client.example\r\nMAIL FROM:<a@b.example>\r\n",),
    (b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n",),
    (b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n",),
    (b"EHLO c.example\r\nSTARTTLS\r\n", b"EHLO c.example\r\n"),
    (b"STARTTLS\r\n", b"EHLO c.example\r\n", b"AUTH PLAIN AG1yb3NlAHNlY3JldA==\r\n", b"EHLO d.example\r\n"),
    (b"EHLO c.example\r\nAUTH PLAIN AG1yb3NlAHNlY3JldA==\r\n", b"MAIL FROM:<mrose@example.org>\r\n"),
    (b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nBDAT 8\r\nA: b\r\n\r\n",),
    (b"EHLO c\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<bob@example.org>\r\nBDAT 8\r\nA: b\r\n\r\n",),
    (b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<rich>\r\nRCPT TO:<bob@example.org>\r\nBDAT 4\r\nx\r\n.",),
    (b"LHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\n",),
    (b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<tight@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n",),
)
SMTP_FRAGMENTS = (
    *(piece for pieces in SMTP_START for piece in pieces),
    b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<> SIZE=99999999999999999999\r\n",
    b"MAIL FROM:<a@b.example> BODY=8BITMIME SIZE=50\r\n", b"mail from: a@b.example\r\n",
    b"MAIL FROM:<mrose@example.org> AUTH=<>\r\n", b"MAIL FROM:<mrose@example.org> AUTH=e+3Dmc2@x.org\r\n",
    b"RCPT TO:<bob@example.org>\r\n", b"RCPT TO:<nobody@example.org>\r\n", b"RCPT TO:<full@example.org>\r\n",
    b"RCPT TO:<tight@example.org>\r\n", b"LHLO c.example\r\n",
    b"RCPT TO:rich\r\n", b"RCPT TO:<postmaster>\r\n", b"RCPT TO:<@a.example,@b.example:bob@example.org>\r\n",
    b'RCPT TO:<"a\\"b"@[IPv6:::1]>\r\n', b"RCPT TO:<bob@elsewhere.example>\r\n",
    "MAIL FROM:<zo\xeb@b.example> SMTPUTF8\r\n".encode(), b"MAIL FROM:<a@b.example> SMTPUTF8\r\n",
    "RCPT TO:<zo\xeb@b\xfccher.example>\r\n".encode(), "RCPT TO:<ZOE\u0308@example.org>\r\n".encode(),
    "RCPT TO:<bob@example.org> ORCPT=utf-8;zo\xeb\\x{3D}@x\r\n".encode(), "VRFY zo\xeb SMTPUTF8\r\n".encode(),
    b"XCLIENT ADDR=192.0.2.7 HELO=x\r\n", b"XCLIENT LOGIN=alice\r\n", b"XCLIENT ADDR=203.0.113.1\r\n",
    b"XFORWARD ADDR=192.0.2.9 NAME=a+20b\r\n", b"XCLIENT NAME=+\r\n",
    b"MAIL FROM:<a@b.example> SOLICIT=x:ADV\r\n",
    b"EXPN choir SMTPUTF8\r\n", b"VRFY lent\r\n", b"RCPT TO:<gone@example.org>\r\n", b" SMTPUTF8\r\n",
    b"DATA\r\n", b".\r\n", b"\r\n.\r\n", b"..\r\n", b"text\r\n", b"Received: x\r\n", b"Subject: y\r\n\r\n",
    b"RSET\r\n", b"NOOP\r\n", b"VRFY rich\r\n", b"EXPN club\r\n", b"HELP\r\n", b"HELP MAIL\r\n", b"QUIT\r\n",
    b"BDAT 6\r\nQUIT\r\n", b"BDAT 2 LAST\r\n\r\n", b"BDAT 0 LAST\r\n", b"BDAT 3\r\nx\ny", b"BDAT 1\r\n\r",
    b"BDAT 1\r\n\n", b"BDAT 16\r\nA: b\r\n\r\n.\r\n..\r\n\r", b"BDAT 70 LAST\r\n",
    b"BDAT 99999999999999999999\r\n",
    b"bdat 2 last\r\n.\n", b"BDAT 5 LATS\r\nRSET\r\n", b"BDAT ", b"BDAT", b" LAST\r\n", b"BDAT x\r\n",
    b"BDAT 7\n",
    b"MAIL FROM:<> BODY=BINARYMIME\r\n", b"MAIL FROM:<a@b.example> body=binarymime\r\n",
    b"TURN\r\n", b"SEND FROM:<a@b.example>\r\n", b"XYZZY\r\n", b"GET / HTTP/1.1\r\n", b"\r\n", b" \r\n",
    b"STARTTLS\r\n", b"STARTTLS now\r\n", b"starttls\n", b"STARTTLS\r\nNOOP\r\n", b"AUTH\r\n",
    b"AUTH LOGIN\r\n",
    b"EHLO", b"MAIL FROM:", b"RCPT TO:", b"VRFY ", b"<", b">", b"@", b'"', b"\\", b" ", b":", b",", b"[",
)  # fmt: skip
POP3_START = (
    (b"USER mrose\r\nPASS secret\r\n",),
    (b"USER mrose\r\n",),
    (b"CAPA\r\n",),
    (b"STLS\r\n", b"USER mrose\r\nPASS secret\r\n"),
    (b"STLS\r\n", b"CAPA\r\n", b"AUTH PLAIN AG1yb3NlAHNlY3JldA==\r\n", b"CAPA\r\n"),
    (b"AUTH\r\nAUTH PLAIN AG1yb3NlAHNlY3JldA==\r\n",),
)
POP3_FRAGMENTS = (
    *(piece for pieces in POP3_START for piece in pieces),
    b"PASS secret\r\n", b"PASS wrong\r\n", b"USER \xff\r\n", b"STAT\r\n", b"LIST\r\n", b"LIST 2\r\n",
    "USER bob\r\nPASS p\N{LATIN SMALL LETTER A WITH ACUTE}ss, w=rd\r\n".encode(),
    b"UIDL\r\n", b"UIDL 1\r\n", b"RETR 1\r\n", b"RETR 2\r\n", b"RETR 3\r\n", b"RETR 4\r\n", b"RETR 5\r\n",
    b"RETR 6\r\n", b"TOP 1 0\r\n", b"TOP 2 3\r\n", b"TOP 5 99999999999999999999\r\n", b"DELE 1\r\n",
    b"DELE 2\r\n", b"DELE 3\r\n", b"DELE 0\r\n", b"DELE -1\r\n", b"LAST\r\n", b"RSET\r\n", b"NOOP\r\n",
    b"QUIT\r\n", b"APOP mrose 0123456789abcdef0123456789abcdef\r\n", b"XYZZY\r\n", b"\r\n", b"retr 1\r\n",
    *logins.APOP,
    b"UTF8\r\n", b"utf8 \r\n", b"UTF8 USER\r\n", b"LANG\r\n", b"LANG *\r\n", b"LANG ru\r\n",
    b"LANG ru-RU-x-y\r\n", b"LANG en\r\n", b"LANG mul\r\n", b"LANG i-default\r\n", b"LANG en us\r\n",
    b"LANG \xd1\x8b\r\n", b"LANG ",
    b"STLS\r\n", b"STLS now\r\n", b"stls\n", b"STLS\r\nCAPA\r\n", b"AUTH\r\n", b"AUTH LOGIN\r\n",
    b"LIST ", b"TOP ", b"RETR ", b"DELE ", b"1", b"01", b" ", b"18446744073709551616", b"\xd9\xa1",
)  # fmt: skip
SASL_FRAGMENTS = (
    b"*\r\n", b"=\r\n", b"\r\n", b"PLAIN ", b"LOGIN\r\n", b"CRAM-MD5 ", b"SCRAM-SHA-1 ", b"XOAUTH2 =\r\n",
    b"biwsbj1tcm9zZSxyPWFiYw==\r\n", b"bXJvc2U=\r\n", b"c2VjcmV0\r\n",
    b"bixhPW1yb3NlLAFhdXRoPQEB\r\n", b"AAAA", b"=",
)  # fmt: skip
EDGES = (
    b"\r",
    b"\n",
    b"\r\n",
    b".",
    b"\0",
    b"\xff",
    b"\r\n.",
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
)
START = {"smtp": SMTP_START, "pop3": POP3_START, "sasl": ((),)}
FRAGMENTS = {"smtp": SMTP_FRAGMENTS, "pop3": POP3_FRAGMENTS, "sasl": SASL_FRAGMENTS}
LOGIN_VERB = {"smtp": b"AUTH ", "pop3": b"AUTH ", "sasl": b""}


def make(target: Target, random: Random) -> tuple[str, Stream]:
    """The name of a server, and what is sent to it."""
    kind = random.random()
    if kind < 0.6:
        server, pieces = _any(target, random), _from_grammar(target, random)
    elif kind < 0.93 and target.dialogues:
        server = random.choice(list(target.dialogues))
        pieces = _spoilt(target, server, random)
    elif kind < 0.93:
        server, pieces = _any(target, random), logins.login(random, LOGIN_VERB[target.name])
    else:
        server, pieces = _any(target, random), [_noise(random, 300)]
    return server, _stretches(pieces, random)


def _any(target: Target, random: Random) -> str:
    """A server, more often one that was made for this than one of a dialogue."""
    return random.choice(target.own if random.random() < 0.8 else target.names)  # type: ignore[arg-type]


def _stretches(pieces: list[bytes], random: Random) -> Stream:
    """A client waits for its replies now and then, and nearly always when it has asked for TLS."""
    done: list[bytes] = []
    gathered: list[bytes] = []
    room = MAX_STREAM
    for piece in pieces:
        gathered.append(piece[:room])
        room -= len(gathered[-1])
        asks = piece[-6:].upper() in (b"TTLS\r\n", b"STLS\r\n")
        if random.random() < (0.8 if asks else 0.03):
            done.append(b"".join(gathered))
            gathered = []
    return (*done, b"".join(gathered))


def _from_grammar(target: Target, random: Random) -> list[bytes]:
    name = target.name
    pieces = list(random.choice(START[name])) if random.random() < 0.7 else []
    if name == "sasl" or random.random() < 0.15:
        pieces += logins.login(random, LOGIN_VERB[name])
    for _ in range(random.randint(1, 5 if name == "sasl" else 25)):
        if random.random() < 0.06:
            pieces += logins.login(random, LOGIN_VERB[name])
        else:
            pieces.append(_piece(target, random))
    return pieces


def _piece(target: Target, random: Random) -> bytes:
    kind = random.random()
    if kind < 0.8:
        return random.choice(FRAGMENTS[target.name])
    if kind < 0.95:
        return random.choice(EDGES)
    if kind < 0.99:
        return _noise(random, 8)
    return random.choice((b"x", b".", b"\r", b"A" * 8, b"x.\r\n")) * random.choice((100, 500, 512, 600, 1600))


def _noise(random: Random, most: int) -> bytes:
    """Octets of which half are of those that matter."""
    length = random.randint(0, most)
    octets = random.randbytes(length)
    if random.random() < 0.5:
        return octets
    return bytes(b"\r\n. "[octet & 3] if octet & 128 else octet for octet in octets)


def _spoilt(target: Target, name: str, random: Random) -> list[bytes]:
    """A dialogue with one to six changes."""
    pieces = list(target.dialogues[name])
    for _ in range(random.randint(1, 6)):
        random.choice(CHANGES)(pieces, target, random)
    return pieces


def _cut(pieces: list[bytes], target: Target, random: Random) -> None:
    at = random.randrange(len(pieces) + 1)
    if at < len(pieces):
        pieces[at] = pieces[at][: random.randint(0, len(pieces[at]))]


def _drop(pieces: list[bytes], target: Target, random: Random) -> None:
    at = random.randrange(len(pieces) + 1)
    del pieces[at : at + random.randint(1, 3)]


def _duplicate(pieces: list[bytes], target: Target, random: Random) -> None:
    at = random.randrange(len(pieces) + 1)
    again = pieces[at : at + random.randint(1, 3)]
    pieces[at:at] = again * random.randint(1, 3)


def _swap(pieces: list[bytes], target: Target, random: Random) -> None:
    if pieces:
        a, b = random.randrange(len(pieces)), random.randrange(len(pieces))
        pieces[a], pieces[b] = pieces[b], pieces[a]


def _flip(pieces: list[bytes], target: Target, random: Random) -> None:
    at = random.randrange(len(pieces) + 1)
    if at < len(pieces) and pieces[at]:
        octets = bytearray(pieces[at])
        for _ in range(random.randint(1, 3)):
            octets[random.randrange(len(octets))] ^= 1 << random.randrange(8)
        pieces[at] = bytes(octets)


def _insert(pieces: list[bytes], target: Target, random: Random) -> None:
    pieces.insert(random.randint(0, len(pieces)), _piece(target, random))


def _splice(pieces: list[bytes], target: Target, random: Random) -> None:
    """Go on with another dialogue from somewhere in its middle."""
    other = random.choice(list(target.dialogues.values()))
    pieces[random.randint(0, len(pieces)) :] = other[random.randint(0, len(other)) :]


def _log_in(pieces: list[bytes], target: Target, random: Random) -> None:
    at = random.randint(0, len(pieces))
    pieces[at:at] = logins.login(random, LOGIN_VERB[target.name])


CHANGES = (_cut, _drop, _duplicate, _swap, _flip, _insert, _splice, _log_in)
