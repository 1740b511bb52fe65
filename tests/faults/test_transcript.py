"""The record of a session: its entries, its two forms, and that no secret is in them."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.faults.transcript import MASK, MAX_KEPT, Transcript
from tests.support.runs import examples
from tests.support.sasl.client import CLIENTS, log_in, one_line

BEGAN = 1_767_225_600.0
CHALLENGES = {
    "PLAIN": [b"334 "],
    "LOGIN": [b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6"],
    "CRAM-MD5": [b"334 " + base64.b64encode(b"<1@mail.example.test>")],
}


def recorded(protocol: str = "smtp") -> Transcript:
    return Transcript("s1", protocol, "127.0.0.1", BEGAN)


def said(transcript: Transcript, *lines: bytes, in_login: bool = False) -> Transcript:
    for line in lines:
        transcript.command(line + b"\r\n", BEGAN + 1, tls=False, in_login=in_login)
    return transcript


def smtp_session() -> Transcript:
    transcript = recorded()
    transcript.event("connected", BEGAN, False)
    transcript.reply(b"220 mail.example.test ESMTP\r\n", BEGAN + 0.0015, False)
    said(transcript, b"ehlo client")
    transcript.reply(b"250-mail.example.test\r\n250 PIPELINING\r\n", BEGAN + 1, False)
    transcript.event("TLSv1.3", BEGAN + 1, True)
    transcript.command(b"RCPT TO:<bob@example.test>\r\n", BEGAN + 2, tls=True, in_login=False)
    transcript.text(b"Subject: Hello\r\n\r\nRCPT caf\xc3", BEGAN + 3, True)
    transcript.text(b"\xa9 \xff\r\n.\r\n", BEGAN + 4, True)
    transcript.reply(b"250 2.0.0 Ok", BEGAN + 5, True)
    transcript.reply(b": queued as 1\r\n421 4.3.2 bye\r\n", BEGAN + 6, True)
    transcript.event("connection closed", BEGAN + 7, True)
    return transcript


def test_what_can_be_asserted() -> None:
    transcript = smtp_session()
    assert transcript.commands == ["ehlo client", "RCPT TO:<bob@example.test>"]
    assert transcript.replies == [
        "220 mail.example.test ESMTP",
        "250-mail.example.test\r\n250 PIPELINING",
        "250 2.0.0 Ok: queued as 1",
        "421 4.3.2 bye",
    ]
    assert [transcript.count(verb) for verb in ("rcpt", "RCPT", "EHLO", "QUIT", "")] == [1, 1, 1, 0, 0]
    content = transcript.entries[6]
    assert (content.who, content.time, content.tls, content.octets) == ("client", 3.0, True, 35)
    assert content.text == "Subject: Hello\r\n\r\nRCPT café \\xff\r\n."


def test_replies_of_pop3() -> None:
    transcript = recorded("pop3")
    for data in (
        b"+OK ready\r\n+OK once more\r\n",
        b"+OK\r\n1 10\r\n.\r\n-ERR busy\r\n",
        b"-ERR\r\nno",
        b"+OK\r\nSubject: cut",
        b"+OK\r\n" + b"x" * MAX_KEPT,
    ):
        transcript.reply(data, BEGAN, False)
        said(transcript, b"LIST")
    assert transcript.replies == [
        "+OK ready",
        "+OK once more",
        "+OK\r\n1 10\r\n.",
        "-ERR busy",
        "-ERR",
        "no",
        "+OK\r\nSubject: cut",
        "+OK\r\n" + "x" * (MAX_KEPT - 5),
    ]


@pytest.mark.parametrize(
    ("protocol", "pieces", "octets"),
    [
        ("smtp", [b"250 ok\r\n", b"421 bye\r\n"], [8, 9]),
        ("smtp", [b"250-a\r\n", b"250-b\r\n", b"250 c\r\n", b"421-x\r\n421 y\r\n"], [21, 14]),
        ("smtp", [b"250 o", b"k\r\n", b"2", b"50 ok\r\n"], [16]),
        ("pop3", [b"+OK\r\n", b"-ERR no\r\n", b"+OK 2\r\n", b"Subject: x\r\n", b"\r\n.\r\n"], [5, 9, 24]),
        ("pop3", [b"+OK\r", b"\n", b"+ \r\n"], [5, 4]),
    ],
)
def test_each_reply_has_its_time(protocol, pieces, octets) -> None:
    """The server says something by itself, such as 421 after some time."""
    transcript = recorded(protocol)
    for piece in pieces:
        transcript.reply(piece, BEGAN, False)
    assert [entry.octets for entry in transcript.entries] == octets


def test_the_end_of_a_dialogue() -> None:
    transcript = said(recorded(), *(b"NOOP %d" % number for number in range(9)))
    whole = transcript.dialogue().splitlines()
    head, omitted, *rest = transcript.dialogue(2).splitlines()
    assert (head, rest) == (whole[0], whole[-2:])
    assert omitted == "          -- (… 7 entries)"
    assert transcript.dialogue(9).splitlines() == whole


def test_the_dialogue() -> None:
    transcript = smtp_session()
    transcript.reply(b"\x1b[31m" + b"x" * 300 + b"\r\n" * 30, BEGAN + 8, True)
    lines = transcript.dialogue().splitlines()
    assert lines[:7] == [
        "smtp session s1 of 127.0.0.1",
        "    0.000 -- connected",
        "    0.002 S: 220 mail.example.test ESMTP",
        "    1.000 C: ehlo client",
        "    1.000 S: 250-mail.example.test",
        "          S: 250 PIPELINING",
        "    1.000 -- TLSv1.3",
    ]
    assert lines[-20] == "    8.000 S: \\x1b[31m" + "x" * 195 + "…"
    assert lines[-1] == "          S: (… 365 octets)"


def test_a_long_entry_is_bounded() -> None:
    transcript = recorded()
    for _ in range(3):
        transcript.text(b"a" * 40_000, BEGAN, False)
    (entry,) = transcript.entries
    assert (entry.octets, len(entry.text), entry.omitted) == (120_000, MAX_KEPT, 120_000 - MAX_KEPT)
    assert "(… 120000 octets)" in transcript.dialogue()


PIECES = st.binary() | st.sampled_from([b"250 ok\r\n", b"caf\xc3\xa9\n", b"\r", "\u2028\r\n".encode()])
STEPS = st.tuples(st.sampled_from(["command", "response", "text", "reply", "event"]), PIECES, st.booleans())


@given(steps=st.lists(STEPS), protocol=st.sampled_from(["smtp", "pop3"]))
def test_json_lines_keep_everything(steps, protocol) -> None:
    transcript = recorded(protocol)
    for kind, data, tls in steps:
        if kind == "event":
            transcript.event(data.decode(errors="surrogateescape"), BEGAN + 0.5, tls)
        elif kind in ("text", "reply"):
            getattr(transcript, kind)(data, BEGAN + 0.25, tls)
        else:
            transcript.command(data, BEGAN + 0.125, tls=tls, in_login=kind == "response")
    text = transcript.json_lines()
    again = Transcript.from_json_lines(text)
    assert again.entries == transcript.entries and again.json_lines() == text
    assert (again.id, again.protocol, again.client, again.began) == ("s1", protocol, "127.0.0.1", BEGAN)
    assert transcript.dialogue() == again.dialogue()


@pytest.mark.parametrize("text", ["", "{}", "[]", "nothing", '{"id": "s1"}', "7", "null"])
def test_text_that_is_no_transcript(text) -> None:
    with pytest.raises(ValueError, match="not a transcript"):
        Transcript.from_json_lines(text)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"pass  secret word ", f"pass  {MASK}"),
        (b"PASSsecret", f"PASS{MASK}"),
        (b"\tPASS\tsecret", f"\tPASS\t{MASK}"),
        (b"PASS", "PASS"),
        (b"USER tim", "USER tim"),
        (b"APOP tim 0123", f"APOP tim {MASK}"),
        (b"APOP 0123", f"APOP {MASK}"),
        (b"AUTH", "AUTH"),
        (b"AUTH PLAIN", "AUTH PLAIN"),
        (b"AUTH PLAIN =", "AUTH PLAIN ="),
        (b"auth  plain  AHRpbQBzZWNyZXQ=", f"auth  plain  {MASK}"),
        (b"AUTH=LOGIN dGlt", f"AUTH=LOGIN {MASK}"),
        (b"AUTH AHRpbQBzZWNyZXQ=", f"AUTH {MASK}"),
        (b"AUTH:PLAIN AHRpbQBzZWNyZXQ=", f"AUTH{MASK}"),
        (b"\0AUTH PLAIN AHRpbQBzZWNyZXQ=", f"\0AUTH {MASK}"),
        (b"AUTHPLAIN AHRpbQBzZWNyZXQ=", f"AUTH{MASK}"),
        (b"X-AUTH PLAIN AHRpbQBzZWNyZXQ=", f"X-AUTH {MASK}"),
        (b"AUTHENTICATE PLAIN AHRpbQBzZWNyZXQ=", f"AUTHENTICATE {MASK}"),
        (b"APOP=tim 0123", f"APOP{MASK}"),
        (b'"PASS" secret', f'"PASS{MASK}'),
        (b"LOGIN tim secret", f"LOGIN {MASK}"),
        (b"a1 LOGIN tim secret", f"a1 LOGIN {MASK}"),
        (b"MAIL FROM:<a@b.test> AUTH=<>", "MAIL FROM:<a@b.test> AUTH=<>"),
        (b"VRFY login tim", "VRFY login tim"),
    ],
)
def test_which_part_of_a_command_is_secret(line, text) -> None:
    (entry,) = said(recorded(), line).entries
    assert (entry.text, entry.octets) == (text, len(line) + 2)


def test_a_response_that_came_without_its_challenge() -> None:
    """The server has rejected AUTH, and a client that did not wait has sent its secret already."""
    transcript = said(recorded(), b"AUTH LOGIN", b"dGlt", b"AUTHc2Vj", b"QUIT", b"c2VjcmV0")
    assert transcript.commands == ["AUTH LOGIN", MASK, MASK, "QUIT", "c2VjcmV0"]
    transcript = said(recorded(), b"AUTHLOGIN", b"dGlt", b"c2VjcmV0", b"QUIT")
    assert transcript.commands == [f"AUTH{MASK}", MASK, MASK, "QUIT"]


def test_a_response_is_not_a_command() -> None:
    transcript = said(recorded(), b"QUIT", b"", b"*", in_login=True)
    assert [entry.text for entry in transcript.entries] == [MASK, "", "*"]
    assert transcript.commands == [] and transcript.count("QUIT") == transcript.count("*") == 0


def login(mechanism: str, password: bytes) -> Transcript:
    """A login, recorded. The server never learns whether the password is right."""
    transcript = recorded()
    name = b"tim"
    if mechanism == "PASS":
        return said(transcript, b"USER " + name, b"PASS " + password, b"STAT")
    if mechanism == "APOP":
        return said(transcript, b"APOP tim " + hashlib.md5(b"<1@a>" + password).hexdigest().encode())
    if mechanism == "initial":
        return said(transcript, one_line(name, password)[:-2], b"NOOP")
    challenges = iter(CHALLENGES.get(mechanism, []))
    begun = False

    def ask(line: bytes) -> bytes:
        nonlocal begun
        said(transcript, line, in_login=begun)
        if mechanism.startswith("SCRAM") and begun:
            first = base64.b64decode(line)
            if b"p=" in first:
                return b"235 ok"
            nonce = first.rpartition(b"r=")[2]
            answer = b"334 " + base64.b64encode(b"r=" + nonce + b"x,s=c2FsdA==,i=1")
        else:
            answer = b"334 " if mechanism.startswith("SCRAM") else next(challenges, b"235 ok")
        begun = True
        transcript.reply(answer + b"\r\n", BEGAN + 2, False)
        return answer

    log_in(ask, mechanism, name, password)
    return transcript


LOGINS = ["PASS", "APOP", "initial", *CLIENTS]
# No octet that ends the line of PASS, and none that PASS takes for a space.
PASSWORDS = st.lists(st.characters(blacklist_categories=["Cs", "Cc", "Zs"]), min_size=8, max_size=24).map(
    lambda characters: "".join(characters).encode()
)


@pytest.mark.parametrize("mechanism", LOGINS)
@settings(max_examples=examples(1))
@given(password=PASSWORDS)
def test_no_secret_is_in_the_record(mechanism, password) -> None:
    transcript = login(mechanism, password)
    whole = transcript.json_lines() + transcript.dialogue()
    secrets = [
        password.decode(),
        base64.b64encode(password).decode(),
        one_line(b"tim", password).split()[2].decode(),
    ]
    assert MASK in whole and not [secret for secret in secrets if secret in whole]
    # The record is the same for every password, except for its length.
    other = login(mechanism, b"x" * len(password))
    assert [entry.text for entry in transcript.entries] == [entry.text for entry in other.entries]
