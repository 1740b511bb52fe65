"""What a client says of itself goes into logs and trace fields: there it must stay one line, and harmless.

Terminal escapes, line ends and format strings in host names, reverse-paths and user names.
"""

import re

import pytest

from tests.attacks.ways import smtp
from tests.e2e.dialogue import Pop3, Smtp
from tests.e2e.mailbox import Mailbox

HOSTS = [
    b"a\x1b[31mb", b"a\x1b]0;title\x07", b"a\rReceived: from x by y; now", b"a\r\tby y", b"a\0b",
    b"a\x08\x08", b"a) by evil.example (b", b"a; Mon, 02 Nov 2026 10:00:00 +0000", b"a (b)", b"a\tb",
    b"a b", b"<a>", b'"a"', b"a,b", b"a\\b", b"\xff", "a\u2028b".encode(), "a\u202eb".encode(), b"a" * 256,
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS, ids=ascii)
@pytest.mark.parametrize("verb", [b"HELO", b"EHLO"])
def test_a_host_name_that_would_read_on_in_a_received_field(verb: bytes, host: bytes) -> None:
    assert smtp(verb + b" " + host + b"\r\nMAIL FROM:<>\r\n").codes == ["501 5.5.4", "503 5.5.1"]


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
        assert len([line for line in mailbox.server.log.splitlines() if id in line]) == 1
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


def test_a_user_name_is_one_line_of_the_log_escaped(mailbox: Mailbox) -> None:
    server = mailbox.server
    marked: dict[str, bool] = {}
    for number, user in enumerate(USERS):
        octets = user.encode() if isinstance(user, str) else user
        mark = f"mark{number}"
        with Pop3(server.pop3) as session:
            known = session.ask(b"USER " + octets % mark.encode()).startswith(b"+OK")
            marked[mark] = known
            if known:
                assert session.ask(b"PASS x").startswith(b"-ERR [AUTH]")
    assert sum(marked.values()) >= 5
    log = server.log_file.read_bytes().decode()
    for mark, known in marked.items():
        lines = [line for line in log.split("\n") if re.search(rf"{mark}(?!\d)", line)]
        # a name that is refused as no name is not written down at all
        assert len(lines) == known, lines
    assert all(character.isprintable() or character == "\n" for character in log)


def test_a_password_is_in_no_log(mailbox: Mailbox) -> None:
    for user in (mailbox.address, "nobody"):
        with Pop3(mailbox.server.pop3) as session:
            assert session.login(user, "hunter2-is-not-it").startswith(b"-ERR")
    assert "hunter2" not in mailbox.server.log
