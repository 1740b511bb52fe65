"""Makes the streams: from fragments of the grammar, from dialogues that are spoilt, from noise."""

from random import Random

from tests.fuzz.targets import Target

MAX_STREAM = 16384  # octets, so that one session costs little and a run has many

SMTP_START = (
    b"EHLO client.example\r\n",
    b"HELO client.example\r\nMAIL FROM:<a@b.example>\r\n",
    b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n",
    b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n",
)
SMTP_FRAGMENTS = (
    *SMTP_START,
    b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<> SIZE=99999999999999999999\r\n",
    b"MAIL FROM:<a@b.example> BODY=8BITMIME SIZE=50\r\n", b"mail from: a@b.example\r\n",
    b"RCPT TO:<bob@example.org>\r\n", b"RCPT TO:<nobody@example.org>\r\n", b"RCPT TO:<full@example.org>\r\n",
    b"RCPT TO:rich\r\n", b"RCPT TO:<postmaster>\r\n", b"RCPT TO:<@a.example,@b.example:bob@example.org>\r\n",
    b'RCPT TO:<"a\\"b"@[IPv6:::1]>\r\n', b"RCPT TO:<bob@elsewhere.example>\r\n",
    b"DATA\r\n", b".\r\n", b"\r\n.\r\n", b"..\r\n", b"text\r\n", b"Received: x\r\n", b"Subject: y\r\n\r\n",
    b"RSET\r\n", b"NOOP\r\n", b"VRFY rich\r\n", b"EXPN club\r\n", b"HELP\r\n", b"HELP MAIL\r\n", b"QUIT\r\n",
    b"TURN\r\n", b"SEND FROM:<a@b.example>\r\n", b"XYZZY\r\n", b"\r\n", b" \r\n",
    b"EHLO", b"MAIL FROM:", b"RCPT TO:", b"VRFY ", b"<", b">", b"@", b'"', b"\\", b" ", b":", b",", b"[",
)  # fmt: skip
POP3_START = (b"USER mrose\r\nPASS secret\r\n", b"USER mrose\r\n", b"CAPA\r\n")
POP3_FRAGMENTS = (
    *POP3_START,
    b"PASS secret\r\n", b"PASS wrong\r\n", b"USER \xff\r\n", b"STAT\r\n", b"LIST\r\n", b"LIST 2\r\n",
    b"UIDL\r\n", b"UIDL 1\r\n", b"RETR 1\r\n", b"RETR 2\r\n", b"RETR 3\r\n", b"RETR 4\r\n", b"RETR 5\r\n",
    b"RETR 6\r\n", b"TOP 1 0\r\n", b"TOP 2 3\r\n", b"TOP 5 99999999999999999999\r\n", b"DELE 1\r\n",
    b"DELE 2\r\n", b"DELE 3\r\n", b"DELE 0\r\n", b"DELE -1\r\n", b"LAST\r\n", b"RSET\r\n", b"NOOP\r\n",
    b"QUIT\r\n", b"APOP mrose 0123456789abcdef0123456789abcdef\r\n", b"XYZZY\r\n", b"\r\n", b"retr 1\r\n",
    b"LIST ", b"TOP ", b"RETR ", b"DELE ", b"1", b"01", b" ", b"18446744073709551616", b"\xd9\xa1",
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
START = {"smtp": SMTP_START, "pop3": POP3_START}
FRAGMENTS = {"smtp": SMTP_FRAGMENTS, "pop3": POP3_FRAGMENTS}


def make(target: Target, random: Random) -> tuple[str, bytes]:
    """The name of a server, and what is sent to it."""
    kind = random.random()
    if kind < 0.5:
        server, pieces = random.choice(sorted(target.servers)), _from_grammar(target, random)
    elif kind < 0.9:
        server = random.choice(list(target.dialogues))
        pieces = _spoilt(target, server, random)
    else:
        server, pieces = random.choice(sorted(target.servers)), [_noise(random, 300)]
    return server, b"".join(pieces)[:MAX_STREAM]


def _from_grammar(target: Target, random: Random) -> list[bytes]:
    pieces = [random.choice(START[target.name])] if random.random() < 0.7 else []
    return pieces + [_piece(target, random) for _ in range(random.randint(1, 25))]


def _piece(target: Target, random: Random) -> bytes:
    kind = random.random()
    if kind < 0.8:
        return random.choice(FRAGMENTS[target.name])
    if kind < 0.95:
        return random.choice(EDGES)
    if kind < 0.99:
        return _noise(random, 8)
    return random.choice((b"x", b".", b"\r", b"A" * 8, b"x.\r\n")) * random.choice((100, 500, 512, 600, 2000))


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


CHANGES = (_cut, _drop, _duplicate, _swap, _flip, _insert, _splice)
