"""What a client says of itself goes into logs and trace fields: there it must stay one line, and harmless.

Terminal escapes, line ends and format strings in host names, reverse-paths and user names.
"""

import base64
import re
from collections import Counter

import attrs
import pytest

from mailserver.mail.trace import received
from tests.support.attacks.ways import MAIL, RCPT, smtp
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration, launch_forked_twistd, wait_until
from tests.support.runs import rest_slow
from tests.support.smtp import SETTINGS

HOSTS = [
    b"a\x1b[31mb", b"a\x1b]0;title\x07", b"a\0b",
    b"a\x08\x08", b"a) by evil.example (b", b"a; Mon, 02 Nov 2026 10:00:00 +0000", b"a (b)", b"a\tb",
    b"a b", b"<a>", b'"a"', b"a,b", b"a\\b", b"\xff", "a\u2028b".encode(), "a\u202eb".encode(), b"a" * 256,
    b"[a] (b", b"[a;b]", b"[", b"]", b"@", b"a\\\"b",
]  # fmt: skip
STRICT = attrs.evolve(SETTINGS, strict_syntax=True)
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"


@pytest.mark.parametrize("host", HOSTS, ids=ascii)
@pytest.mark.parametrize("verb", [b"HELO", b"EHLO"])
def test_a_host_name_that_would_read_on_in_a_received_field(verb: bytes, host: bytes) -> None:
    """A printable one is taken, others leave the client without a name; strict syntax refuses all."""
    outcome = smtp(verb + b" " + host + b"\r\n" + MAIL + RCPT + b"DATA\r\nx\r\n.\r\n")
    assert outcome.codes[0] in ("250", "501 5.5.4")
    assert outcome.codes[1:] == ["250 2.1.0", "250 2.1.5", "354", "250 2.0.0"]
    [kept] = outcome.kept
    named = host.decode("utf-8", "surrogateescape").replace("\t", " ")
    assert kept.started.helo == (named if outcome.codes[0] == "250" else "")
    [line, *_] = written(kept.started.helo).split("\r\n")
    assert re.fullmatch(rf"Received: from (?:{ATOM}(?:\.{ATOM})*|\[[!-Z^-~]*\]) \(\[192\.0\.2\.1\]\)", line)
    refused = smtp(verb + b" " + host + b"\r\n" + MAIL, settings=STRICT)
    assert refused.codes == ["501 5.5.4", "503 5.5.1"]


@pytest.mark.parametrize("host", [b"a\rReceived: from x by y; now", b"a\r\tby y"], ids=ascii)
def test_a_host_name_with_a_bare_cr_is_no_command(host: bytes) -> None:
    assert smtp(b"EHLO " + host + b"\r\n" + MAIL).codes == ["500 5.5.2", "503 5.5.1"]


def written(helo: str) -> str:
    field = received(
        helo=helo, client_ip="192.0.2.1", hostname="m.example", protocol="SMTP", id="1", recipients=(), when=0
    )
    assert field.isascii() and max(map(len, field.split(b"\r\n"))) <= 998
    return field.decode()


PATHS = [
    b'"a) by evil.example (b; now"@b.example',
    b'"a\\\\r\\\\nBcc: victim@b.example"@b.example',
    b'"a>, <c@d.example"@b.example',
    b'"%s %n {0} {log_format}{id}"@b.example',
    b"%s%n{0}{log_format}@b.example",
    b"a@[x-tag:;by(evil)]",
]
TRACE = (
    rb"Return-Path: <%s>\r\nDelivered-To: %s\r\n"
    rb"Received: from \[c=~/:_\] \(\[127\.0\.0\.1\]\)\r\n\tby mail\.example\.org with ESMTP id [a-z0-9]+\r\n"
    rb"\tfor <%s>;\r\n\t[A-Z][^\r\n()]*\r\nSubject: x\r\n\r\n"
)


def test_no_reverse_path_adds_a_field_or_a_line_of_the_log(mailbox: Mailbox) -> None:
    to = mailbox.address.encode()
    for path in PATHS:
        with Smtp(mailbox.server.smtp) as session:
            session.expect(b"EHLO [c=~/:_]", b"250")
            session.expect(b"MAIL FROM:<%s>" % path, b"250")
            session.expect(b"RCPT TO:<%s>" % to, b"250")
            session.expect(b"DATA", b"354")
            accepted = session.expect(b"Subject: x\r\n\r\n.", b"250")
        id = accepted.rpartition(b" ")[2].decode()
        assert len(mailbox.server.logged(id)) == 1
    stored = mailbox.messages()
    for path, one in zip(PATHS, stored, strict=True):
        assert re.fullmatch(TRACE % (re.escape(path), re.escape(to), re.escape(to)), one), (path, one)


# A mark, and what comes with it.
USERS = [
    b"%s\x1b[31mred", b"%s\x1b]0;title\x07", b"%s\rINFO: logged in", b"%s\0", b"%s\x7f", b"%s\xff",
    "%s\u2028INFO: logged in", "%s\u0085INFO", "%s\u202egnp.exe", "%s\u200b", "%s\ufeff",
    b"%s%%s%%n{0}{user}{log_format}", b"%s'\"\\", b"%s\\n\\x1b[31m", b"%s@x;logged", "%s\u00e9\u03a9",
    "%s@\u00e9.example", b"%s" + b"x" * 200,
]  # fmt: skip


def wait_for(server: Server, marks: list[str]) -> None:
    """The lines of several workers come in any order."""
    wait_until(lambda: all(re.search(rf"{mark}(?!\d)", server.log) for mark in marks), "the log lines")


def test_a_user_name_is_one_line_of_the_log_escaped(mailbox: Mailbox) -> None:
    server = mailbox.server
    marked: dict[str, bool] = {}
    for number, user in enumerate(USERS):
        octets = user.encode() if isinstance(user, str) else user
        mark = f"mark{number}"
        with Pop3(server.pop3) as session:
            known = session.ask(b"USER " + octets % mark.encode()).startswith(b"+OK")  # type: ignore[operator]
            marked[mark] = known
            if known:
                assert session.ask(b"PASS x").startswith(b"-ERR [AUTH]")
    assert sum(marked.values()) >= 5
    wait_for(server, [mark for mark, known in marked.items() if known])
    log = server.log_file.read_bytes().decode()
    for mark, known in marked.items():
        lines = [line for line in log.split("\n") if re.search(rf"{mark}(?!\d)", line)]
        # a name that is refused as no name is not written down at all
        assert len(lines) == known, lines
    assert all(character.isprintable() or character == "\n" for character in log)


def test_a_name_in_base64_is_one_line_of_the_log_escaped(mailbox: Mailbox) -> None:
    """AUTH brings what no command line can: line ends, and NULs of its own."""
    server = mailbox.server
    users = [
        *USERS,
        "%s\r\nINFO: logged in",
        "%s\n",
        "\r%s",
        "%s\x1b[2J\x1b[H",
        "%s\x9b31m",
        "%s" + "\n" * 500,
    ]
    marks = {}
    for number, user in enumerate(users):
        octets = user.encode() if isinstance(user, str) else user
        mark = f"sasl{number}"
        response = base64.b64encode(b"\0" + octets % mark.encode() + b"\0x")  # type: ignore[operator]
        with Pop3(server.pop3) as session:
            marks[mark] = session.ask(b"AUTH PLAIN " + response)
            assert session.ask(b"NOOP").startswith(b"-ERR ")
    known = [mark for mark, reply in marks.items() if reply.startswith(b"-ERR [AUTH] ")]
    assert len(known) >= 10
    wait_for(server, known)
    log = server.log_file.read_bytes().decode()
    for mark in marks:
        lines = [line for line in log.split("\n") if re.search(rf"{mark}(?!\d)", line)]
        assert len(lines) <= 1, lines
        if mark in known:
            assert len(lines) == 1, mark
    assert all(character.isprintable() or character == "\n" for character in log)


@pytest.mark.parametrize("format", rest_slow(["text", "json"]))
def test_nothing_of_a_message_or_a_login_begins_a_line_or_a_field(make_server: Makes, format: str) -> None:
    """On the port for people, where heads are completed: what is added is ours alone."""
    listen = [("submission", "tcp:0:interface=127.0.0.1")]
    tables = f'[smtp]\nplaintext_auth = true\n[log]\nformat = "{format}"\n'
    server = make_server(configuration(listen=listen, tables=tables), launch=launch_forked_twistd).start()
    evil = "evil\r\nX: y\x1b[31m"
    with Smtp(server.address("submission")) as session:
        session.expect(b"EHLO a\x1b[31mb", b"501 ")
        session.expect(b"EHLO [c=~/:_]", b"250")
        response = base64.b64encode(f"\0{evil}\0x".encode())
        session.expect(b"AUTH PLAIN " + response, b"5")
        session.expect(b"AUTH PLAIN " + base64.b64encode(b"\0alice\0" + PASSWORD.encode()), b"235")
        session.expect(b"MAIL FROM:<alice@example.org>", b"250")
        session.expect(b"RCPT TO:<bob@example.org>", b"250")
        session.expect(b"DATA", b"354")
        session.expect(b"Subject: \x1b[31mred\x07 \x0bX: y\r\nFrom: alice@example.org\r\n\r\nx\r\n.", b"250")
    [path] = server.data.glob("mail/example.org/bob/new/*")
    head = path.read_bytes().partition(b"\r\n\r\n")[0]
    fields = Counter(re.findall(rb"^([A-Za-z-]+):", head, re.MULTILINE))
    assert fields.keys() == {
        *(b"Return-Path", b"Delivered-To", b"Received", b"Subject", b"From", b"Date", b"Message-ID"),
    }
    assert set(fields.values()) == {1}
    assert b"Subject: \x1b[31mred\x07 \x0bX: y\r\n" in head + b"\r\n", "what people write stays as it is"
    log = server.log_file.read_bytes().decode()
    assert "\x1b" not in log and "\r" not in log and "\x07" not in log
    assert len([line for line in log.splitlines() if "evil" in line]) == 1
    assert not [line for line in log.splitlines() if line.startswith("X: y")]
    assert "red" not in "".join(line for line in log.splitlines() if "accepted" in line)


def test_a_password_is_in_no_log(mailbox: Mailbox) -> None:
    for user in (mailbox.address, "nobody"):
        with Pop3(mailbox.server.pop3) as session:
            assert session.login(user, "hunter2-is-not-it").startswith(b"-ERR")
    assert "hunter2" not in mailbox.server.log
