"""Octets where they do not belong: NUL, 8-bit and broken UTF-8 in commands, in addresses and in the text."""

import pytest

from mailserver.smtp.states import SMTPState
from tests.support.attacks.ways import BEGIN, HELLO, MAIL, pop3, smtp
from tests.support.pop3 import FakeServer as Pop3Server

BAD = {
    "NUL": b"\0",
    "ESC": b"\x1b[31m",
    "DEL": b"\x7f",
    "CR": b"\r",
    "latin-1": b"\xe9",
    "half of a character": b"\xc3",
    "overlong slash": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf5\x80\x80\x80",
    "line separator": "\u2028".encode(),
    "next line": "\u0085".encode(),
    "right-to-left": "\u202e".encode(),
}
# A client's own name may be in any character set; the Received field escapes it.
IN_A_NAME = {"latin-1", "half of a character", "overlong slash", "surrogate", "beyond Unicode"}
COMMANDS = {
    "verb": (b"", b"NO%sOP", SMTPState.CONNECTED),
    "before the verb": (b"", b"%sNOOP", SMTPState.CONNECTED),
    "host": (b"", b"EHLO client%s.example", SMTPState.CONNECTED),
    "sender": (HELLO, b"MAIL FROM:<a%s@b.example>", SMTPState.IDLE),
    "quoted sender": (HELLO, b'MAIL FROM:<"a%s"@b.example>', SMTPState.IDLE),
    "sender's domain": (HELLO, b"MAIL FROM:<a@b%s.example>", SMTPState.IDLE),
    "parameter": (HELLO, b"MAIL FROM:<a@b.example> SIZE=1%s", SMTPState.IDLE),
    "recipient": (HELLO + MAIL, b"RCPT TO:<bob%s@example.org>", SMTPState.SENDER),
    "recipient's domain": (HELLO + MAIL, b"RCPT TO:<bob@exa%smple.org>", SMTPState.SENDER),
    "after the path": (HELLO + MAIL, b"RCPT TO:<bob@example.org>%s", SMTPState.SENDER),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", COMMANDS)
def test_in_a_command_of_smtp(where: str, bad: str) -> None:
    """One permanent error, in printable ASCII; nothing has changed, and the next command is in step."""
    begin, command, phase = COMMANDS[where]
    outcome = smtp(command % BAD[bad] + b"\r\nNOOP\r\n", begin=begin)
    [first, second] = outcome.codes
    if where == "host" and bad in IN_A_NAME:
        assert first == "250"
        phase = SMTPState.IDLE
    else:
        assert first[:3] in ("500", "501", "550", "553", "555")
    assert second == "250 2.0.0"
    assert outcome.phase is phase
    assert all(0x20 <= octet < 0x7F or octet in b"\r\n" for octet in outcome.said)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    "command", [b"NO%sOP", b"%sCAPA", b"USER mr%sose", b"USER %s", b"PASS %s", b"RETR 1%s"]
)
def test_in_a_command_of_pop3(command: bytes, bad: str) -> None:
    [first, second], removed = pop3(command % BAD[bad] + b"\r\nSTAT\r\n", Pop3Server)
    # a name may be UTF-8 (RFC 6856), but not with what nobody could see
    assert first.startswith(b"-ERR ")
    assert second.startswith(b"-ERR ")
    assert removed is None


@pytest.mark.parametrize("bad", BAD)
def test_in_a_password(bad: str) -> None:
    """Wrong like any other wrong one; the right one is taken afterwards."""
    attack = b"USER mrose\r\nPASS secret%s\r\nUSER mrose\r\nPASS secret\r\n" % BAD[bad]
    said, _ = pop3(attack, Pop3Server)
    assert [line[:4] for line in said] == [b"+OK ", b"-ERR", b"+OK ", b"+OK "]


@pytest.mark.parametrize("bad", [name for name in BAD if name != "CR"])
def test_in_a_message_they_are_kept(bad: str) -> None:
    text = b"Subject: a%sb\r\nX%s: y\r\n\r\n%s\r\n%s.\r\n".replace(b"%s", BAD[bad])
    outcome = smtp(text + b".\r\n", begin=BEGIN)
    assert outcome.codes == ["250 2.0.0"]
    assert outcome.contents == [text]


# An address, what the session makes of it, and the recipient that comes of it.
ADDRESSES = {
    b'<""@example.org>': ("550", None),
    b'<"a\\"b"@example.org>': ("550", None),
    b'<"bo\\b"@example.org>': ("250", "bob@example.org"),
    b"<@a.example,@b.example:bob@example.org>": ("250", "bob@example.org"),
    b"<@a.example,@b.example:bob@elsewhere.example>": ("550", None),
    b"<@a.example,b.example:bob@example.org>": ("501", None),
    b"<@:bob@example.org>": ("501", None),
    b"<" + b"a" * 64 + b"@example.org>": ("550", None),
    b"<" + b"a" * 256 + b"@example.org>": ("501", None),
    b"<" + b"a" * 65536 + b"@example.org>": ("500", None),
    b"<bob@" + b"a" * 65536 + b">": ("500", None),
    b'<"' + b"\\" * 400 + b'"@example.org>': ("550", None),
    b'<"' + b"\\" * 401 + b'"@example.org>': ("501", None),
    b"<a@b@c>": ("501", None),
    b"<bob@example.org@elsewhere.example>": ("501", None),
    b"<bob@example.org>@elsewhere.example": ("501", None),
    b"<<bob@example.org>>": ("501", None),
    b"<bob@example.org": ("501", None),
    b"bob@example.org>": ("501", None),
    b"<bob@[999.1.1.1]>": ("501", None),
    b"<bob@[::1]>": ("501", None),
    b"<bob@example..org>": ("501", None),
    b"<bob@.example.org>": ("501", None),
    b"<bob@>": ("501", None),
    b"<@example.org>": ("501", None),
    b"<bob(comment)@example.org>": ("250", "bob@example.org"),
    b"<bob @example.org>": ("250", "bob@example.org"),
    b"<bob(@example.org>": ("501", None),
    b"<bob@example.org(>": ("501", None),
    b"<(a>) bob@example.org>": ("250", "bob@example.org"),
}


@pytest.mark.parametrize("path", ADDRESSES, ids=lambda path: path.decode()[:50])
def test_an_address_is_understood_or_refused(path: bytes) -> None:
    code, recipient = ADDRESSES[path]
    outcome = smtp(b"RCPT TO:" + path + b"\r\nDATA\r\n.\r\n", begin=HELLO + MAIL)
    assert outcome.codes[0][:3] == code
    recipients = [str(each) for kept in outcome.kept for each in kept.started.recipients]
    assert recipients == ([recipient] if recipient else [])
