"""Replies with the look of another server: single cases, and that a reply stays well-formed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.faults.restyle import MAX_LINE, NO_FACTS, ReplyFacts, ReplyStyle, Restyler
from mailserver.faults.situations import SITUATIONS
from mailserver.testing.profile import PROFILES, load_profile

STYLE = {
    "smtp": ReplyStyle(
        "smtp",
        {
            "ehlo": ("250 {hostname} greets {helo} [{client}]",),
            "mail": ("250 <{address}> {argument}",),
            "accepted": ("250 id={id} session={session}",),
            "unknown-recipient": ("553 one", "553 two"),
            "quit": ("221 ",),
            "unknown-command": ("502 no {verb}",),
        },
        ("SIZE {size}", "STARTTLS", "X-EARLY", "AUTH NTLM LOGIN PLAIN", "X-MORE 1"),
        only_shown=frozenset({"NTLM"}),
        before_tls=frozenset({"X-EARLY"}),
        status_codes=False,
        unknown=frozenset({"BDAT"}),
    ),
    "pop3": ReplyStyle(
        "pop3",
        {
            "capa": ("+OK Yes:",),
            "user": ("+OK {argument}",),
            "login": ("+OK {count} of {octets}",),
            "retr": ("+OK coming",),
            "quit": ("+OK bye",),
            "quit-before-login": ("+OK so soon",),
            "in-use": ("-ERR [IN-USE] wait",),
            "unknown-command": ("-ERR what?",),
            "unknown-command-before-login": ("-ERR log in",),
        },
        ("TOP", "STLS", "USER", "SASL PLAIN"),
        after_login=("TOP",),
        status_codes=False,
        unknown=frozenset({"LAST"}),
    ),
}
OURS = b"250-mail.example.org\r\n250-PIPELINING\r\n250-SIZE 99\r\n"
OURS_CLEAR = OURS + b"250 STARTTLS\r\n"
OURS_SECURE = OURS + b"250 AUTH SCRAM-SHA-256 PLAIN\r\n"
FIRST = b"250-mail.example.org greets c.example [192.0.2.7]\r\n"
FACTS = ReplyFacts("192.0.2.7", "c.example", "FROM:<a@b.example> SIZE=1", "s1")
IN = ReplyFacts(logged_in=True)


@pytest.mark.parametrize(
    ("protocol", "moment", "ours", "facts", "expected"),
    [
        (
            "smtp",
            "EHLO",
            OURS_CLEAR,
            FACTS,
            FIRST + b"250-SIZE 99\r\n250-STARTTLS\r\n250-X-EARLY\r\n250 X-MORE 1\r\n",
        ),
        (
            "smtp",
            "EHLO",
            OURS_SECURE,
            FACTS,
            FIRST + b"250-SIZE 99\r\n250-AUTH NTLM PLAIN\r\n250 X-MORE 1\r\n",
        ),
        ("smtp", "EHLO", OURS + b"250 AUTH EXTERNAL\r\n", FACTS, FIRST + b"250-SIZE 99\r\n250 X-MORE 1\r\n"),
        ("smtp", "EHLO", b"250 mail.example.org\r\n", FACTS, FIRST + b"250-SIZE\r\n250 X-MORE 1\r\n"),
        ("smtp", "EHLO", b"501 5.5.4 no\r\n", FACTS, b"501 no\r\n"),
        ("smtp", "MAIL", b"250 2.1.0 Ok\r\n", FACTS, b"250 <a@b.example> FROM:<a@b.example> SIZE=1\r\n"),
        ("smtp", "dot", b"250 2.0.0 Ok: queued as 7\r\n", FACTS, b"250 id=7 session=s1\r\n"),
        ("smtp", "RCPT", b"550 5.1.1 who?\r\n", FACTS, b"553-one\r\n553 two\r\n"),
        ("smtp", "RCPT", b"450 4.2.1 a 5.1.1 b\r\n", FACTS, b"450 a 5.1.1 b\r\n"),
        ("smtp", "HELP", b"214-2.0.0 a\r\n214 2.0.0 b\r\n", FACTS, b"214-a\r\n214 b\r\n"),
        ("smtp", "QUIT", b"221 2.0.0 bye\r\n", FACTS, b"221\r\n"),
        ("smtp", "XYZ", b"500 5.5.2 command not recognized; HELP lists\r\n", FACTS, b"502 no XYZ\r\n"),
        ("smtp", "auth step", b"334 VXNlcm5hbWU6\r\n", FACTS, b"334 VXNlcm5hbWU6\r\n"),
        ("smtp", "MAIL", b"250 2.1.0 Ok\r\n421 4.7.0 x\r\n", FACTS, b"250 2.1.0 Ok\r\n421 4.7.0 x\r\n"),
        ("smtp", "MAIL", b"250 2.1.0 Ok", FACTS, b"250 2.1.0 Ok"),
        (
            "pop3",
            "CAPA",
            b"+OK list\r\nTOP\r\nSTLS\r\nUIDL\r\n.\r\n",
            NO_FACTS,
            b"+OK Yes:\r\nTOP\r\nSTLS\r\n.\r\n",
        ),
        (
            "pop3",
            "CAPA",
            b"+OK list\r\nUSER\r\nSASL LOGIN PLAIN\r\n.\r\n",
            NO_FACTS,
            b"+OK Yes:\r\nTOP\r\nUSER\r\nSASL PLAIN\r\n.\r\n",
        ),
        ("pop3", "CAPA", b"+OK list\r\nUSER\r\nSTLS\r\n.\r\n", IN, b"+OK Yes:\r\nTOP\r\n.\r\n"),
        ("pop3", "CAPA", b"+OK list\r\nUSER\r\n", NO_FACTS, b"+OK list\r\nUSER\r\n"),
        ("pop3", "PASS", b"+OK a's maildrop has 1 message (99 octets)\r\n", NO_FACTS, b"+OK 1 of 99\r\n"),
        ("pop3", "USER", b"+OK x\r\n", ReplyFacts(argument="[SYS/TEMP] x"), b"+OK SYS/TEMP] x\r\n"),
        ("pop3", "USER", b"+OK x\r\n", ReplyFacts(argument="a\r\n\xe9"), b"+OK a???\r\n"),
        ("pop3", "RETR", b"+OK 9 octets\r\n\xff\r\n..\r\n", IN, b"+OK coming\r\n\xff\r\n..\r\n"),
        ("pop3", "QUIT", b"+OK x\r\n", IN, b"+OK bye\r\n"),
        ("pop3", "QUIT", b"+OK x\r\n", NO_FACTS, b"+OK so soon\r\n"),
        ("pop3", "PASS", b"-ERR [IN-USE] x\r\n", NO_FACTS, b"-ERR [IN-USE] wait\r\n"),
        ("pop3", "PASS", b"-ERR [SYS/TEMP] later\r\n", NO_FACTS, b"-ERR later\r\n"),
        ("pop3", "auth step", b"+ PDE+\r\n", NO_FACTS, b"+ PDE+\r\n"),
    ],
)
def test_a_reply(protocol, moment, ours, facts, expected):
    assert Restyler(STYLE[protocol], "mail.example.org")(moment, ours, facts) == expected


@pytest.mark.parametrize(
    ("protocol", "verb", "facts", "expected"),
    [
        ("smtp", "bdat", NO_FACTS, b"502 no BDAT\r\n"),
        ("smtp", "DATA", NO_FACTS, None),
        ("pop3", "LAST", NO_FACTS, b"-ERR log in\r\n"),
        ("pop3", "LAST", IN, b"-ERR what?\r\n"),
    ],
)
def test_a_command_that_the_other_server_does_not_know(protocol, verb, facts, expected):
    assert Restyler(STYLE[protocol], "mail.example.org").refusal(verb, facts) == expected


def test_without_a_style_nothing_changes():
    for protocol, reply in (("smtp", OURS_CLEAR), ("pop3", b"+OK x\r\nTOP\r\n.\r\n")):
        restyle = Restyler(ReplyStyle(protocol), "mail.example.org")
        assert restyle("EHLO", reply) == restyle("CAPA", reply) == reply
        assert restyle.refusal("BDAT") is None


def test_the_host_name_of_pop3_is_no_response_code():
    style = ReplyStyle("pop3", {"greeting": ("+OK {hostname} ready",)})
    assert Restyler(style, "[192.0.2.1]")("greeting", b"+OK x\r\n") == b"+OK 192.0.2.1 ready\r\n"


MOMENTS = [
    "greeting",
    "dot",
    "auth step",
    "EHLO",
    "HELO",
    "MAIL",
    "RCPT",
    "DATA",
    "BDAT",
    "AUTH",
    "QUIT",
    "VRFY",
    "X",
]
POP3_MOMENTS = [
    "greeting",
    "CAPA",
    "USER",
    "PASS",
    "LIST",
    "UIDL",
    "RETR",
    "TOP",
    "DELE",
    "QUIT",
    "NOOP",
    "X",
]
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
OUR_TEXTS = st.one_of(
    TEXTS,
    st.sampled_from(["2.0.0 Ok: queued as 1", "5.1.1 no", "5.3.4 big", "4.5.3 many", "unknown command"]),
    st.sampled_from(["x has 2 messages (9 octets)", "9 octets", "[AUTH] no", "5.5.2 command not recognized"]),
    st.sampled_from(["SIZE 9", "STARTTLS", "AUTH PLAIN LOGIN"]),
)
ANY_FACTS = st.builds(ReplyFacts, *[st.text(max_size=600)] * 5, logged_in=st.booleans())
CODES = st.sampled_from([220, 221, 235, 250, 252, 334, 354, 421, 450, 452, 500, 530, 535, 550, 552])
SMTP_LINE = re.compile(rb"(\d{3})(?:-[\x20-\x7e]*|(?: [\x20-\x7e]+)?)\r\n")


def is_well_formed(reply: bytes) -> bool:
    """RFC 5321 section 4.2: one code, "-" in all lines but the last, and lines of 512 octets at most."""
    lines = reply.splitlines(keepends=True)
    return (
        all(SMTP_LINE.fullmatch(line) and len(line) <= MAX_LINE for line in lines)
        and len({line[:3] for line in lines}) == 1
        and [line[3:4] == b"-" for line in lines] == [True] * (len(lines) - 1) + [False]
    )


@given(
    st.sampled_from([name for name in PROFILES if load_profile(name).smtp.replies]),
    st.sampled_from(MOMENTS),
    CODES,
    st.lists(OUR_TEXTS.filter(str.strip), min_size=1, max_size=5),
    ANY_FACTS,
)
def test_a_reply_of_smtp_stays_well_formed(name, moment, code, texts, facts):
    *before, last = texts
    ours = "".join([f"{code}-{text}\r\n" for text in before]) + f"{code} {last}\r\n"
    reply = Restyler(load_profile(name).smtp, "mail.example.org")(moment, ours.encode(), facts)
    assert is_well_formed(reply)
    assert reply[:1] == ours[:1].encode()


@given(
    st.sampled_from([name for name in PROFILES if load_profile(name).pop3.replies]),
    st.sampled_from(POP3_MOMENTS),
    st.sampled_from(["+OK", "-ERR"]),
    OUR_TEXTS,
    st.lists(TEXTS.filter(lambda text: text != "."), max_size=4),
    ANY_FACTS,
)
def test_a_reply_of_pop3_stays_well_formed(name, moment, status, text, lines, facts):
    is_multi_line = status == "+OK" and moment in ("CAPA", "LIST", "UIDL", "RETR", "TOP")
    ours = "\r\n".join([f"{status} {text}", *([*lines, ".", ""] if is_multi_line else [""])])
    reply = Restyler(load_profile(name).pop3, "[192.0.2.1]")(moment, ours.encode(), facts).decode()
    first, _, rest = reply.partition("\r\n")
    assert re.fullmatch(r"(\+OK|-ERR)( [\x20-\x7e]*)?", first) and len(first) <= MAX_LINE - 2
    assert first.startswith(status)
    if moment == "CAPA" and is_multi_line:
        assert rest.endswith(".\r\n") and rest.count("\r\n.\r\n") <= 1
    else:
        assert rest == ours.partition("\r\n")[2]


def test_each_situation_has_one_row():
    for rows in SITUATIONS.values():
        assert len({row.name for row in rows}) == len(rows)
