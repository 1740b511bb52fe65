"""Profiles: our real replies, changed by each profile, are what its file says."""

import re
import tomllib

import attrs
import pytest

from mailserver.config.keys.pop3 import Pop3Section
from mailserver.config.keys.smtp import SmtpSection
from mailserver.faults.restyle import PLACEHOLDER, ReplyFacts, Restyler
from mailserver.faults.situations import BEFORE_LOGIN, POP3_SITUATIONS, SMTP_SITUATIONS
from mailserver.pop3.capabilities import CAPABILITIES
from mailserver.pop3.verbs import VERBS as POP3_VERBS
from mailserver.sasl.mechanisms import MECHANISMS
from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.verbs import VERBS as SMTP_VERBS
from mailserver.testing.profile import FOLDER, PROFILES, load_profile, read_profile
from tests.support import pop3, smtp

FACTS = ReplyFacts("192.0.2.7", "client.example", session="s1", date="Mon, 30 Nov 2026 12:00:00 +0000")
SETTINGS = attrs.evolve(
    smtp.SETTINGS, mechanisms=("PLAIN", "LOGIN"), verify="never", max_message_size=100000, max_recipients=2
)
SMTP = [name for name in PROFILES if load_profile(name).smtp.replies]
POP3 = [name for name in PROFILES if load_profile(name).pop3.replies]

# Situation, moment, and what the client sends. It has TLS, but has not logged in.
SMTP_DIALOGUE = (
    ("unknown-command", "XYZZY", b"XYZZY\r\n"),
    ("helo", "HELO", b"HELO client.example\r\n"),
    ("ehlo", "EHLO", b"EHLO client.example\r\n"),
    ("login-failed", "AUTH", b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n"),
    ("size-rejected", "MAIL", b"MAIL FROM:<a@elsewhere.example> SIZE=100001\r\n"),
    ("mail", "MAIL", b"MAIL FROM:<a@elsewhere.example>\r\n"),
    ("relaying-denied", "RCPT", b"RCPT TO:<a@elsewhere.example>\r\n"),
    ("unknown-recipient", "RCPT", b"RCPT TO:<nobody@example.org>\r\n"),
    ("rcpt", "RCPT", b"RCPT TO:<bob@example.org>\r\n"),
    ("rcpt", "RCPT", b"RCPT TO:<rich@example.org>\r\n"),
    ("too-many-recipients", "RCPT", b"RCPT TO:<alice@example.org>\r\n"),
    ("data", "DATA", b"DATA\r\n"),
    ("accepted", "dot", b"Subject: hi\r\n\r\nhi\r\n.\r\n"),
    ("mail", "MAIL", b"MAIL FROM:<a@elsewhere.example>\r\n"),
    ("rcpt", "RCPT", b"RCPT TO:<bob@example.org>\r\n"),
    ("chunk", "BDAT", b"BDAT 5\r\nabc\r\n"),
    ("rset", "RSET", b"RSET\r\n"),
    ("mail", "MAIL", b"MAIL FROM:<a@elsewhere.example>\r\n"),
    ("rcpt", "RCPT", b"RCPT TO:<bob@example.org>\r\n"),
    ("data", "DATA", b"DATA\r\n"),
    ("too-big", "dot", b"x" * 100001 + b"\r\n.\r\n"),
    ("vrfy", "VRFY", b"VRFY bob\r\n"),
    ("noop", "NOOP", b"NOOP\r\n"),
    ("login", "AUTH", b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"),
    ("quit", "QUIT", b"QUIT\r\n"),
)
POP3_DIALOGUE = (
    ("unknown-command", "XYZZY", b"XYZZY\r\n"),
    ("not-logged-in", "STAT", b"STAT\r\n"),
    ("capa", "CAPA", b"CAPA\r\n"),
    ("user", "USER", b"USER mrose\r\n"),
    ("login-failed", "PASS", b"PASS wrong\r\n"),
    ("user", "USER", b"USER mrose\r\n"),
    ("login", "PASS", b"PASS secret\r\n"),
    ("capa", "CAPA", b"CAPA\r\n"),
    ("list", "LIST", b"LIST\r\n"),
    ("uidl", "UIDL", b"UIDL\r\n"),
    ("retr", "RETR", b"RETR 1\r\n"),
    ("top", "TOP", b"TOP 1 1\r\n"),
    ("dele", "DELE", b"DELE 1\r\n"),
    ("already-deleted", "DELE", b"DELE 1\r\n"),
    ("no-such-message", "RETR", b"RETR 9\r\n"),
    ("noop", "NOOP", b"NOOP\r\n"),
    ("rset", "RSET", b"RSET\r\n"),
    ("unknown-command", "XYZZY", b"XYZZY\r\n"),
    ("quit", "QUIT", b"QUIT\r\n"),
)


def argument_of(line):
    return line.decode().partition("\r\n")[0].partition(" ")[2]


def is_said(replies, situation, said):
    """Whether the file has a reply for this situation, which then is the one with its placeholders filled."""
    lines = replies.get(situation, ())
    shown = said.decode().split("\r\n")
    assert len(shown) > len(lines)
    for line, text in zip(lines, shown, strict=False):
        pattern = ".+?".join(map(re.escape, PLACEHOLDER.split(line)[::2]))
        if line[0].isdigit():
            pattern = pattern.replace(re.escape(line[3]), "[ -]", 1)
        assert re.fullmatch(pattern, text), situation
        assert "{" not in text
    return bool(lines)


@pytest.mark.parametrize("name", SMTP)
def test_smtp(name):
    style = load_profile(name).smtp
    restyle = Restyler(style, "mail.example.org")
    server = smtp.FakeServer(SETTINGS, secure=True)
    said = (
        {"greeting"} if is_said(style.replies, "greeting", restyle("greeting", server.greeting())) else set()
    )
    for situation, moment, line in SMTP_DIALOGUE:
        ours = server.feed(line)
        facts = attrs.evolve(FACTS, argument=argument_of(line))
        reply = restyle(moment, ours, facts)
        if is_said(style.replies, situation, reply):
            said.add(situation)
        else:
            assert style.status_codes <= (reply == ours) or situation == "ehlo"
    # these need TLS, a lack of it, or a server that asks for a login
    assert style.replies.keys() - said <= {"starttls", "login-needed"}


@pytest.mark.parametrize("name", POP3)
def test_pop3(name):
    style = load_profile(name).pop3
    restyle = Restyler(style, "dewey")
    settings = attrs.evolve(pop3.SETTINGS, mechanisms=("PLAIN", "APOP"))
    server = pop3.FakeServer(pop3.maildrop_of([b"Subject: hi\r\n\r\n.hi\r\n"]), settings=settings)
    is_said(style.replies, "greeting", restyle("greeting", server.greeting()))
    said, logged_in = {"greeting"}, False
    for situation, moment, line in POP3_DIALOGUE:
        ours = server.feed(line)
        facts = attrs.evolve(FACTS, argument=argument_of(line), logged_in=logged_in)
        reply = restyle(moment, ours, facts)
        early = situation + BEFORE_LOGIN
        key = early if not logged_in and early in style.replies else situation
        said |= {key} if is_said(style.replies, key, reply) else set()
        if situation in ("list", "uidl", "retr", "top"):
            assert reply.partition(b"\r\n")[2] == ours.partition(b"\r\n")[2]
        logged_in = logged_in or situation == "login"
    assert style.replies.keys() - said <= {"stls", "in-use", "quit-before-login"}


@pytest.mark.parametrize("name", SMTP)
def test_list_of_ehlo(name):
    style = load_profile(name).smtp
    restyle = Restyler(style, "mail.example.org")
    settings = attrs.evolve(SETTINGS, starttls=True)
    clear = restyle("EHLO", smtp.FakeServer(settings).feed(b"EHLO a\r\n"), FACTS).decode().splitlines()[1:]
    secure = smtp.FakeServer(settings, secure=True).feed(b"EHLO a\r\n")
    listed = restyle("EHLO", secure, FACTS).decode().splitlines()[1:]
    words = [line[4:].partition(" ")[0] for line in listed]
    assert words == [
        w
        for line in style.capabilities
        if (w := line.partition(" ")[0]) not in {"STARTTLS", *style.before_tls}
    ]
    assert [line[:4] for line in listed] == ["250-"] * (len(listed) - 1) + ["250 "]
    assert not any("AUTH" in line for line in clear)
    assert any(line[4:] == "STARTTLS" for line in clear) == ("STARTTLS" in style.capabilities)
    if "SIZE {size}" in style.capabilities:
        assert any(line[4:] == "SIZE 100000" for line in listed)


@pytest.mark.parametrize("protocol", ["smtp", "pop3"])
@pytest.mark.parametrize("name", PROFILES)
def test_what_does_not_work_here_is_marked(name, protocol):
    style = load_profile(name).style(protocol)
    known = {
        "smtp": {*SMTP_VERBS, *(extension.keyword for extension in EXTENSIONS)},
        "pop3": {*(row.tag for row in CAPABILITIES), *(verb.decode() for verb in POP3_VERBS)},
    }[protocol]
    for line in (*style.capabilities, *style.after_login):
        keyword, *words = line.split(" ")
        assert keyword.upper() in known | style.only_shown, line
        if keyword in ("AUTH", "SASL"):
            assert set(words) <= MECHANISMS.keys() | style.only_shown, line


@pytest.mark.parametrize("name", PROFILES)
def test_settings_are_ours(name):
    sections = {"smtp": SmtpSection, "pop3": Pop3Section}
    for protocol, settings in load_profile(name).settings.items():
        assert settings.keys() <= {field.name for field in attrs.fields(sections[protocol])}


def test_each_fact_has_a_source_that_says_where_it_is_from():
    for name in PROFILES:
        profile = load_profile(name)
        document = tomllib.loads((FOLDER / f"{name}.toml").read_text())
        named = {each for source in profile.sources.values() for each in source.split("; ")}
        assert named == set(document["sources"].values()), name
        assert profile.about and profile.oddities, name


def test_there_are_the_servers_that_people_know():
    assert {"gmail", "exchange", "postfix", "dovecot", "exim", "courier", "qmail"} <= set(PROFILES)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gmial", 'did you mean "gmail"?'), ("Postfx", 'did you mean "postfix"?'), ("x", "sendmail")],
)
def test_an_unknown_name(name, hint):
    with pytest.raises(ValueError, match=f'no profile "{name}"; allowed: courier, ') as error:
        load_profile(name)
    assert str(error.value).endswith(hint)


@pytest.mark.parametrize(
    ("smtp_table", "problem"),
    [
        ({"replies": {"mail": {"text": "250 ok"}}}, "smtp.replies.mail: its source is not one of a"),
        ({"replies": {"nail": {"text": "250 ok", "source": "a"}}}, "smtp.replies.nail: no such situation"),
        ({"replies": {"mail": {"text": "450 no", "source": "a"}}}, "not lines with a code of the class 2"),
        ({"replies": {"mail": {"text": ["250 a", "251 b"], "source": "a"}}}, "code of the class 2"),
        ({"replies": {"mail": {"text": "250 {who}", "source": "a"}}}, "no placeholder {who}"),
        ({"replies": {"mail": {"text": "250 a\nb", "source": "a"}}}, "not printable ASCII"),
        ({"unknown": {"value": ["BDAT"], "source": "a"}}, "there is no reply to an unknown command"),
        ({"limit": {"x": {"value": 1, "source": "a"}}}, "smtp: unknown key limit"),
    ],
)
def test_a_wrong_file(smtp_table, problem):
    document = {"about": "x", "sources": {"a": "somewhere"}, "smtp": smtp_table}
    with pytest.raises(ValueError, match=re.escape(problem)):
        read_profile("x", document)


def test_a_reply_of_pop3_begins_with_its_status():
    table = {"replies": {"user": {"text": "OK", "source": "a"}}}
    with pytest.raises(ValueError, match=r"not a line that begins with \+OK"):
        read_profile("x", {"about": "x", "sources": {"a": "somewhere"}, "pop3": table})


def test_all_situations_are_told():
    assert {row.name for row in SMTP_SITUATIONS} >= {row[0] for row in SMTP_DIALOGUE}
    assert {row.name for row in POP3_SITUATIONS} >= {row[0] for row in POP3_DIALOGUE}
