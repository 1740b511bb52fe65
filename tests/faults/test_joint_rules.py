"""Rules in front of the sessions: what a client gets, however its octets arrive."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from mailserver.faults.moments import POP3, SMTP
from tests.support import pop3, smtp
from tests.support.scripted import AddRules, ScriptedServer

SMTP_START = b"HELO c\r\n"
MAIL = b"MAIL FROM:<a@b.example>\r\n"
RCPT = b"RCPT TO:<bob@example.org>\r\n"
ENVELOPE = MAIL + RCPT
TEXT = b"Subject: x\r\n\r\n..dot\r\n.\r\n"
CHUNKS = b"BDAT 6\r\nSubjecBDAT 8 LAST\r\nt: x\r\n\r\n"
SMTP_OK, GO_ON = "250 2.0.0 Ok\n", "354 End data with <CR><LF>.<CR><LF>\n"
SENDER_OK, RECIPIENT_OK = "250 2.1.0 Ok\n", "250 2.1.5 Ok\n"
QUEUED = "250 2.0.0 Ok: queued as 1\n"
BYE = "221 2.0.0 mail.example.org closing the connection\n"
BUSY = "451 4.2.1 busy\n"
AUTH = attrs.evolve(smtp.SETTINGS, mechanisms=("LOGIN",), plaintext_auth=True)
BY_LMTP = attrs.evolve(smtp.SETTINGS, lmtp=True)
LMTP = MAIL + b"RCPT TO:<tight@example.org>\r\n" + RCPT
ALICE, SECRET = b"YWxpY2U=\r\n", b"c2VjcmV0\r\n"

POP3_START = b"USER  mrose\r\nPASS secret\r\n"
MESSAGES = (b"Subject: a\r\n\r\n.\r\n", b"Subject: b\r\n\r\nbb\r\n")


@attrs.frozen
class Row:
    """``kept`` is the number of messages that are stored, or the indexes of those that are removed. ``late``:
    something is to be sent after the next reply. ``starts``: the client has said HELO, or has logged in.
    ``greets``: the rules are there before the greeting, and ``said`` begins with it."""

    rules: AddRules
    sent: bytes
    said: str
    kept: Any = 0
    late: bool = False
    starts: bool = True
    greets: bool = False
    settings: Any = None


def busy(on: Any, moment: str, **more: Any) -> Any:
    return on(moment, **more).reply(451, "4.2.1", "busy")


SMTP_ROWS = {
    "reply in place": Row(lambda on: busy(on, "RCPT"), ENVELOPE, SENDER_OK + BUSY),
    "reply, several lines": Row(lambda on: on("NOOP").reply(250, "a", "b"), b"NOOP\r\n", "250-a\n250 b\n"),
    "reply, close": Row(lambda on: busy(on, "MAIL").close(), MAIL + RCPT, BUSY + "<closed>"),
    "reply, delay, reply": Row(
        lambda on: on("NOOP").reply(250, "a").delay(2).reply(250, "b"), b"noop\r\n", "250 a\n<2s>250 b\n"
    ),
    "an unknown verb": Row(lambda on: on("XFOO").reply(250, "foo"), b"xfoo  bar\r\n", "250 foo\n"),
    "an argument": Row(
        lambda on: busy(on, "RCPT", argument="BOB@"),
        MAIL + b"RCPT TO:<alice@example.org>\r\n" + RCPT,
        SENDER_OK + RECIPIENT_OK + BUSY,
    ),
    "each recipient": Row(
        lambda on: busy(on, "RCPT").every(2), MAIL + RCPT * 2, SENDER_OK + RECIPIENT_OK + BUSY
    ),
    "delay": Row(lambda on: on("MAIL").delay("2s"), MAIL, "<2s>" + SENDER_OK),
    "drip": Row(lambda on: on("NOOP").drip(80), b"NOOP\r\n", "<0.1s>250 2.0.<0.075s>0 Ok\n"),
    "truncate": Row(lambda on: on("NOOP").truncate(6), b"NOOP\r\n", "250 2."),
    "truncate, drip": Row(lambda on: on("NOOP").truncate(6).drip(30), b"NOOP\r\n", "<0.1s>250<0.1s> 2."),
    "truncate, close": Row(lambda on: on("NOOP").truncate(3).close(), b"NOOP\r\n", "250<closed>"),
    "silence": Row(lambda on: on("MAIL").silence(), ENVELOPE, RECIPIENT_OK),
    "extra": Row(lambda on: on("NOOP").extra(250, "more"), b"NOOP\r\n", SMTP_OK + "250 more\n"),
    "extra at DATA": Row(
        lambda on: on("DATA").extra(250, "more"), ENVELOPE + b"DATA\r\n" + TEXT,
        SENDER_OK + RECIPIENT_OK + GO_ON + "250 more\n" + QUEUED, 1,
    ),
    "raw": Row(lambda on: on("NOOP").raw(b"hello\r\n"), b"NOOP\r\n", "hello\n"),
    "hang": Row(lambda on: on("MAIL").hang(), ENVELOPE, "<hang>"),
    "reset": Row(lambda on: on("MAIL").delay(1).reset(), ENVELOPE, "<1s><RESET>"),
    "half-close": Row(lambda on: busy(on, "MAIL").half_close(), ENVELOPE, BUSY + "<HALF_CLOSE>"),
    "lose": Row(lambda on: on("RCPT").lose(), ENVELOPE, SENDER_OK + "<RESET>"),
    # replies in the wrong order
    "swap": Row(lambda on: on("MAIL").swap(), ENVELOPE, RECIPIENT_OK + SENDER_OK),
    "swap, nothing follows": Row(lambda on: on("MAIL").swap(), MAIL, "", late=True),
    "swap in pairs": Row(
        lambda on: on("NOOP").swap(), b"NOOP\r\nNOOP\r\nXFOO\r\nNOOP\r\nRSET\r\nHELP XFOO\r\n",
        SMTP_OK * 2 + "500 5.5.2 command not recognized; HELP lists the commands\n" + SMTP_OK * 2
        + "504 5.5.4 no help on this topic; HELP without an argument lists the topics\n",
    ),
    "swap before a reply in place": Row(
        lambda on: (on("MAIL").swap(), busy(on, "RCPT").close()), ENVELOPE, BUSY + SENDER_OK + "<closed>"
    ),
    "swap before a changed reply": Row(
        lambda on: (on("MAIL").swap(), on("RCPT").truncate(5).reset()), ENVELOPE,
        "250 2" + SENDER_OK + "<RESET>",
    ),
    "swap before QUIT": Row(lambda on: on("NOOP").swap(), b"NOOP\r\nQUIT\r\n", BYE + SMTP_OK + "<closed>"),
    "swap before a delay": Row(
        lambda on: (on("NOOP").swap(), on("RSET").delay(1)), b"NOOP\r\nRSET\r\n", "<1s>" + SMTP_OK * 2
    ),
    # QUIT
    "QUIT, reply in place": Row(
        lambda on: on("QUIT").reply(250, "no"), b"QUIT\r\nNOOP\r\n", "250 no\n" + SMTP_OK,
    ),
    "QUIT, delay at its end": Row(
        lambda on: on("QUIT").truncate(3).delay(2), b"QUIT\r\nNOOP\r\n", "221<2s><closed>"
    ),
    "QUIT, hang at its end": Row(lambda on: on("QUIT").silence().hang(), b"QUIT\r\n", "<hang>"),
    "QUIT, half-close": Row(
        lambda on: on("QUIT").extra(221, "x").half_close(), b"QUIT\r\n", BYE + "221 x\n<HALF_CLOSE>",
    ),
    "QUIT, lose": Row(lambda on: on("QUIT").lose(), b"QUIT\r\n", "<RESET>"),
    # messages
    "dot, reply": Row(
        lambda on: busy(on, "dot").times(1), (ENVELOPE + b"DATA\r\n" + TEXT) * 2,
        SENDER_OK + RECIPIENT_OK + GO_ON + BUSY + SENDER_OK + RECIPIENT_OK + GO_ON + QUEUED, 1,
    ),
    "dot, reply, close": Row(
        lambda on: busy(on, "dot").close(), ENVELOPE + CHUNKS, SENDER_OK + RECIPIENT_OK + SMTP_OK + BUSY
        + "<closed>"
    ),
    "dot, lose": Row(
        lambda on: on("dot").lose(), ENVELOPE + CHUNKS, SENDER_OK + RECIPIENT_OK + SMTP_OK + "<RESET>", 1
    ),
    "dot, reset": Row(
        lambda on: on("dot").reset(), ENVELOPE + CHUNKS, SENDER_OK + RECIPIENT_OK + SMTP_OK + "<RESET>"
    ),
    "stored, reply": Row(
        lambda on: busy(on, "stored"), ENVELOPE + CHUNKS, SENDER_OK + RECIPIENT_OK + SMTP_OK + BUSY, 1
    ),
    "dot and stored": Row(
        lambda on: (on("dot").delay(1).truncate(9), on("stored").delay(2).extra(250, "x")), ENVELOPE + CHUNKS,
        SENDER_OK + RECIPIENT_OK + SMTP_OK + "<1s><2s>250 2.0.0250 x\n", 1,
    ),
    "BDAT, dot and stored": Row(
        lambda on: (on("BDAT", "LAST").delay(1), on("dot").delay(2), on("stored").lose()), ENVELOPE + CHUNKS,
        SENDER_OK + RECIPIENT_OK + SMTP_OK + "<1s><2s><RESET>", 1,
    ),
    "BDAT and dot": Row(
        lambda on: (on("BDAT", "LAST").truncate(3), on("dot").extra(250, "x")), ENVELOPE + CHUNKS,
        SENDER_OK + RECIPIENT_OK + SMTP_OK + "250250 x\n", 1,
    ),
    "dot at octet": Row(
        lambda on: on("dot", at=4).delay(1), ENVELOPE + CHUNKS,
        SENDER_OK + RECIPIENT_OK + SMTP_OK + "250 <1s>2.0.0 Ok: queued as 1\n", 1,
    ),
    "a message that is rejected": Row(
        lambda on: (on("dot").close(), on("stored").close()), ENVELOPE + b"DATA\r\nbare\n.\r\n\r\n.\r\n",
        SENDER_OK + RECIPIENT_OK + GO_ON + "550 5.6.0 the message has a bare CR or LF; "
        + "lines must end with CR LF (RFC 5321 section 2.3.8)\n",
    ),
    "DATA at octet, delay": Row(
        lambda on: on("DATA", at=5).delay(1).every(2), (ENVELOPE + b"DATA\r\n" + TEXT) * 2,
        SENDER_OK + RECIPIENT_OK + GO_ON + QUEUED
        + SENDER_OK + RECIPIENT_OK + GO_ON + "<1s>" + QUEUED.replace("1", "2"), 2,
    ),
    "DATA at octet, an early reply": Row(
        lambda on: busy(on, "DATA", at=5), ENVELOPE + b"DATA\r\n" + TEXT,
        SENDER_OK + RECIPIENT_OK + GO_ON + BUSY + QUEUED, 1,
    ),
    "DATA at its last octet": Row(
        lambda on: on("DATA", at=len(TEXT)).reset(), ENVELOPE + b"DATA\r\n" + TEXT,
        SENDER_OK + RECIPIENT_OK + GO_ON + "<RESET>",
    ),
    "DATA behind its last octet": Row(
        lambda on: on("DATA", at=len(TEXT) + 1).reset(), ENVELOPE + b"DATA\r\n" + TEXT,
        SENDER_OK + RECIPIENT_OK + GO_ON + QUEUED, 1,
    ),
    "DATA at octet, after a dot that does not end it": Row(
        lambda on: on("DATA", at=12).reset(), ENVELOPE + b"DATA\r\nbare\n.\r\nmore\r\n.\r\n",
        SENDER_OK + RECIPIENT_OK + GO_ON + "<RESET>",
    ),
    "BDAT at octet": Row(
        lambda on: (on("BDAT", at=3).delay(1), on("BDAT", at=10).delay(2)), ENVELOPE + CHUNKS,
        SENDER_OK + RECIPIENT_OK + "<1s>" + SMTP_OK + "<2s>" + QUEUED, 1,
    ),
    "BDAT at octet, in each message": Row(
        lambda on: on("BDAT", at=3).delay(1), ENVELOPE + b"BDAT 6\r\nSubjecRSET\r\n" + ENVELOPE + CHUNKS,
        (SENDER_OK + RECIPIENT_OK + "<1s>" + SMTP_OK) + SMTP_OK
        + (SENDER_OK + RECIPIENT_OK + "<1s>" + SMTP_OK) + QUEUED, 1,
    ),
    "BDAT, reply in place": Row(
        lambda on: busy(on, "BDAT").times(1), ENVELOPE + b"BDAT  6\r\nSubjecBDAT 3 LAST\r\nx\r\n",
        SENDER_OK + RECIPIENT_OK + BUSY + QUEUED, 1,
    ),
    "BDAT, delay": Row(
        lambda on: on("BDAT").delay(1), ENVELOPE + CHUNKS,
        SENDER_OK + RECIPIENT_OK + "<1s>" + SMTP_OK + "<1s>" + QUEUED, 1,
    ),
    "BDAT 0 LAST": Row(
        lambda on: on("BDAT", "^0 LAST").delay(1), ENVELOPE + b"BDAT\t6\r\nSubjecBDAT 0 LAST\r\n",
        SENDER_OK + RECIPIENT_OK + SMTP_OK + "<1s>" + QUEUED, 1,
    ),
    "LMTP, a delay before the replies": Row(
        lambda on: on("dot").delay(1), LMTP + b"DATA\r\n" + TEXT,
        SENDER_OK + RECIPIENT_OK * 2 + GO_ON + "<1s>552 5.2.2 mailbox full\n" + QUEUED, 1, settings=BY_LMTP,
    ),
    "LMTP, stored for one of two": Row(
        lambda on: on("stored").lose(), LMTP + b"BDAT 0 LAST\r\n",
        SENDER_OK + RECIPIENT_OK * 2 + "<RESET>", 1, settings=BY_LMTP,
    ),
    # logins
    "auth step, reply": Row(
        lambda on: on("auth step").reply(535, "5.7.8", "no").times(1), b"AUTH LOGIN\r\n" + ALICE
        + b"RSET\r\n",
        "334 VXNlcm5hbWU6\n535 5.7.8 no\n" + SMTP_OK, settings=AUTH,
    ),
    "auth step, the second one": Row(
        lambda on: on("auth step").after(1).delay(1), b"AUTH LOGIN\r\n" + ALICE + SECRET,
        "334 VXNlcm5hbWU6\n334 UGFzc3dvcmQ6\n<1s>235 2.7.0 authentication successful\n", settings=AUTH,
    ),
    "auth step, cancelled": Row(
        lambda on: on("auth step").truncate(3), b"AUTH LOGIN\r\n*\r\n", "334 VXNlcm5hbWU6\n501", settings=AUTH
    ),
    "an account": Row(
        lambda on: busy(on, "NOOP").for_("alice"), b"NOOP\r\nAUTH LOGIN\r\n" + ALICE + SECRET + b"NOOP\r\n",
        SMTP_OK + "334 VXNlcm5hbWU6\n334 UGFzc3dvcmQ6\n235 2.7.0 authentication successful\n" + BUSY,
        settings=AUTH,
    ),
    "an account whose login fails": Row(
        lambda on: busy(on, "NOOP").for_("alice"), b"AUTH LOGIN\r\n" + ALICE + ALICE + b"NOOP\r\n",
        "334 VXNlcm5hbWU6\n334 UGFzc3dvcmQ6\n535 5.7.8 wrong user name or password\n" + BUSY, settings=AUTH,
    ),
    # before the first command
    "greeting, reply": Row(
        lambda on: on("greeting").reply(554, "no").close(), b"NOOP\r\n", "554 no\n<closed>", greets=True,
    ),
    "greeting, delay": Row(
        lambda on: on("greeting").delay(1), b"", "<1s>220 mail.example.org ESMTP mailserver ready\n",
        greets=True
    ),
    "greeting at octet": Row(lambda on: on("greeting", at=4).reset(), b"", "220 <RESET>", greets=True),
    "greeting, silence": Row(lambda on: on("greeting").silence(), b"NOOP\r\n", SMTP_OK, greets=True),
    # limits
    "a line that is too long": Row(
        lambda on: on("XFOO").close(), b"NOOP\r\nXFOO " + b"x" * 70000 + b"\r\nNOOP\r\n",
        SMTP_OK + "500 5.5.2 the command line is too long\n" + SMTP_OK,
    ),
    "another session": Row(lambda on: busy(on, "NOOP").session(2).optional(), b"NOOP\r\n", SMTP_OK),
    "this session": Row(lambda on: busy(on, "NOOP").session(1), b"NOOP\r\n", BUSY),
    "a rate": Row(lambda on: busy(on, "NOOP").above(2, per="1m"), b"NOOP\r\n" * 4, SMTP_OK * 2 + BUSY * 2),
    "the first rule that acts": Row(
        lambda on: (on("NOOP").reply(250, "a").times(1), on("NOOP").reply(250, "b")), b"NOOP\r\n" * 2,
        "250 a\n250 b\n",
    ),
}  # fmt: skip

NEXT = "+OK send the password\n"
DROP = "+OK mrose's maildrop has 2 messages (35 octets)\n"
LIST = "+OK 2 messages (35 octets)\n1 17\n2 18\n.\n"
RETR = "+OK 17 octets\nSubject: a\n\n..\n.\n"
POP3_BYE = "+OK dewey POP3 server signing off (2 messages left)\n"

POP3_ROWS = {
    "reply in place": Row(lambda on: on("STAT").reply("-ERR", "no"), b"STAT\r\n", "-ERR no\n"),
    "reply, several lines": Row(
        lambda on: on("RETR").reply("+OK", "x", "a", ".b"), b"RETR 1\r\n", "+OK x\na\n..b\n.\n"
    ),
    "locked": Row(
        lambda on: on("PASS").locked().times(1),
        b"USER mrose\r\nPASS secret\r\nUSER mrose\r\nPASS secret\r\n",
        NEXT + "-ERR [IN-USE] the maildrop is locked by another session\n" + NEXT + DROP,
        starts=False,
    ),
    "an account at PASS": Row(
        lambda on: on("PASS").close().for_("mrose@example.org"), POP3_START, NEXT + "<closed>", starts=False
    ),
    "another account": Row(
        lambda on: on("USER").close().for_("other").optional(), b"USER mrose\r\n", NEXT, starts=False
    ),
    "lie, STAT": Row(lambda on: on("STAT").lie(100), b"STAT\r\n", "+OK 2 135\n"),
    "lie, LIST": Row(
        lambda on: on("LIST").lie(-10), b"LIST\r\n", "+OK 2 messages (25 octets)\n1 7\n2 8\n.\n",
    ),
    "lie, one of LIST": Row(lambda on: on("LIST").lie(-100), b"LIST 2\r\n", "+OK 2 0\n"),
    "lie, RETR": Row(lambda on: on("RETR").lie(1), b"RETR 1\r\n", RETR.replace("17", "18")),
    "RETR at octet": Row(
        lambda on: on("RETR", at=20).delay(1).reset(), b"RETR 1\r\n", RETR[:19]
        + "<1s><RESET>",
    ),
    "RETR at octet, silence": Row(lambda on: on("RETR", at=4).silence(), b"RETR 1\r\n", "+OK "),
    "RETR at octet, drip": Row(lambda on: on("STAT", at=4).drip(30), b"STAT\r\n", "+OK <0.1s>2 3<0.1s>5\n"),
    "TOP at octet": Row(lambda on: on("TOP", at=3).lose(), b"TOP 1 0\r\n", "+OK<RESET>"),
    "LIST at octet": Row(lambda on: on("LIST", at=0).extra("-ERR", "x"), b"LIST\r\n", LIST + "-ERR x\n"),
    "UIDL at octet": Row(lambda on: on("UIDL", at=3).raw(b"!"), b"UIDL\r\n", "+OK!"),
    "at octet behind the end": Row(lambda on: on("STAT", at=11).reset(), b"STAT\r\n", "+OK 2 35\n"),
    "at the last octet": Row(lambda on: on("STAT", at=10).reset(), b"STAT\r\n", "+OK 2 35\n<RESET>"),
    "at octet, and the verb": Row(
        lambda on: (on("STAT").delay(1), on("STAT", at=4).delay(2)), b"STAT\r\n", "<1s>+OK <2s>2 35\n"
    ),
    "the argument of at octet": Row(
        lambda on: on("LIST", "1", at=3).close(), b"LIST 2\r\nLIST 1\r\n", "+OK 2 18\n+OK<closed>",
    ),
    "swap before a long reply": Row(lambda on: on("STAT").swap(), b"STAT\r\nRETR 1\r\n", RETR + "+OK 2 35\n"),
    "swap of a long reply": Row(lambda on: on("RETR").swap(), b"RETR 1\r\nSTAT\r\n", "+OK 2 35\n" + RETR),
    "garbage": Row(lambda on: on("STAT").garbage(0), b"STAT\r\n", "\n"),
    "QUIT, reply in place": Row(
        lambda on: on("QUIT").reply("+OK", "x").close(), b"DELE 1\r\nQUIT\r\n",
        "+OK message 1 deleted\n+OK x\n<closed>", None,
    ),
    "QUIT, lose": Row(
        lambda on: on("QUIT").lose(), b"DELE 1\r\nQUIT\r\n", "+OK message 1 deleted\n<RESET>", (0,),
    ),
    "removed, lose": Row(
        lambda on: on("removed").lose(), b"DELE 2\r\nQUIT\r\n", "+OK message 2 deleted\n<RESET>", (1,),
    ),
    "removed, reply": Row(
        lambda on: on("removed").reply("-ERR", "x"), b"DELE 2\r\nQUIT\r\n",
        "+OK message 2 deleted\n-ERR x\n<closed>", (1,)
    ),
    "removed, hang": Row(lambda on: on("removed").hang(), b"QUIT\r\n", "<hang>", ()),
    "QUIT, delay, and removed, delay": Row(
        lambda on: (on("QUIT").delay(1), on("removed").delay(2).half_close()), b"QUIT\r\n",
        "<1s><2s><HALF_CLOSE>", ()
    ),
    "QUIT before the login": Row(
        lambda on: on("removed").close().optional(), b"QUIT\r\n",
        "+OK dewey POP3 server signing off\n<closed>", None,
        starts=False,
    ),
    "greeting, garbage": Row(
        lambda on: on("greeting").garbage(0).close(), b"STAT\r\n", "\n<closed>", greets=True,
    ),
    "auth step": Row(
        lambda on: on("auth step").reply("-ERR", "x"), b"AUTH PLAIN\r\nAG1yb3NlAHNlY3JldA==\r\nNOOP x\r\n",
        "+ \n-ERR x\n-ERR NOOP is only allowed in the TRANSACTION state\n", starts=False,
        settings=attrs.evolve(pop3.SETTINGS, mechanisms=("PLAIN",)),
    ),
}  # fmt: skip


def scripted(protocol: str, row: Row) -> ScriptedServer:
    """The server of a row before it gets anything."""
    if protocol == SMTP:
        server: Any = smtp.FakeServer(row.settings or smtp.SETTINGS)
    else:
        server = pop3.FakeServer(pop3.maildrop_of(MESSAGES), settings=row.settings or pop3.SETTINGS)
    if row.greets:
        return ScriptedServer(server, protocol, row.rules)
    made = ScriptedServer(server, protocol)
    if row.starts:
        made.feed(
            {SMTP: b"LHLO c\r\n" if row.settings is BY_LMTP else SMTP_START, POP3: POP3_START}[protocol]
        )
    made.said = ""
    made.add(row.rules)
    return made


def kept(made: ScriptedServer) -> Any:
    server: Any = made.server
    return len(server.kept) if made.script.protocol == SMTP else server.removed


def by_whole(data: bytes) -> list[bytes]:
    return [data]


def by_octets(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def by_lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


ROWS = [
    pytest.param(protocol, row, id=f"{protocol} {name}")
    for protocol, rows in ((SMTP, SMTP_ROWS), (POP3, POP3_ROWS))
    for name, row in rows.items()
]


@pytest.mark.parametrize("pieces", [by_whole, by_octets, by_lines])
@pytest.mark.parametrize(("protocol", "row"), ROWS)
def test_what_a_client_gets(protocol: str, row: Row, pieces: Callable[[bytes], list[bytes]]) -> None:
    made = scripted(protocol, row)
    for piece in pieces(row.sent):
        made.feed(piece)
    assert made.said == row.said
    assert kept(made) == (None if protocol == POP3 and row.kept == 0 else row.kept)


@pytest.mark.parametrize(("protocol", "row"), ROWS)
def test_octets_behind_it_are_the_next_command(protocol: str, row: Row) -> None:
    made = scripted(protocol, row)
    made.feed(row.sent + b"FOO\r\n")
    if row.late:
        assert made.said.endswith("the commands\n" + SENDER_OK)
        return
    assert made.said.startswith(row.said)
    rest = made.said.removeprefix(row.said)
    if made.is_over:
        assert rest == "" and (not made.joint.pending or made.said.endswith("<hang>"))
    else:
        assert rest.startswith(("500 5.5.2", "-ERR"))
