"""What a test sees in a message: texts, links, codes, attachments, for any octets."""

import re
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.mime import Attachment
from mailserver.testing.message import CaughtMessage


def caught(raw: bytes) -> CaughtMessage:
    return CaughtMessage("1", "shop@example.test", ("bob@example.test",), "bob@example.test", raw, 0.0)


def plain(text: str) -> CaughtMessage:
    return caught(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode())


def html(text: str) -> CaughtMessage:
    return caught(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + text.encode())


IN_TEXT = {
    "end of a sentence": ("Go to https://a.test/x. Or not", ["https://a.test/x"]),
    "several marks": ("Really https://a.test/x?!, yes", ["https://a.test/x"]),
    "in parentheses": ("(see https://a.test/x)", ["https://a.test/x"]),
    "with parentheses": ("https://a.test/x_(y) and", ["https://a.test/x_(y)"]),
    "both": ("(https://a.test/x_(y)).", ["https://a.test/x_(y)"]),
    "angle brackets": ("<https://a.test/x>", ["https://a.test/x"]),
    "quotes": ('"https://a.test/x"', ["https://a.test/x"]),
    "Markdown": ("[here](https://a.test/x), **https://b.test/**", ["https://a.test/x", "https://b.test/"]),
    "a token with a hyphen": ("https://a.test/r/ab-_- .", ["https://a.test/r/ab-_-"]),
    "query and fragment": ("https://a.test/?b=1&c=%20#d=", ["https://a.test/?b=1&c=%20#d="]),
    "any case": ("HTTP://A.test/x", ["HTTP://A.test/x"]),
    "mailto": ("mailto:bob@a.test?subject=x.", ["mailto:bob@a.test?subject=x"]),
    "twice": ("https://a.test/x https://b.test/y https://a.test/x", ["https://a.test/x", "https://b.test/y"]),
    "other schemes": ("ftp://a.test/ xhttps://a.test/ https: http://", []),
    "nothing but marks": ("https://... mailto:).", []),
}
IN_HTML = {
    "entities": ('<a href="https://a.test/?b=1&amp;c=2">x</a>', ["https://a.test/?b=1&c=2"]),
    "line break": ('<a href=" https://a.test/\r\n x ">', ["https://a.test/ x"]),
    "no quotes": ("<A HREF=https://a.test/x>go</A>", ["https://a.test/x"]),
    "relative": ('<a href="/x"><a><a href><a href="javascript:1">', []),
    "not a link": ('<img src="https://a.test/x"> https://a.test/y <!-- <a href="https://a.test/z"> -->', []),
    "map": ('<map><area href="mailto:b@a.test"></map>', ["mailto:b@a.test"]),
    "marked section": (
        '<![foo[<a href="https://a.test/y">]]><a href="https://a.test/x">',
        ["https://a.test/x"],
    ),
    "Outlook": ('<!--[if mso]><a href="x:"><![endif]--><a href="https://a.test/x">', ["https://a.test/x"]),
}


@pytest.mark.parametrize(("text", "links"), IN_TEXT.values(), ids=IN_TEXT)
def test_links_in_text(text: str, links: list[str]) -> None:
    assert plain(text).links() == links


@pytest.mark.parametrize(("text", "links"), IN_HTML.values(), ids=IN_HTML)
def test_links_in_html(text: str, links: list[str]) -> None:
    assert html(text).links() == links


def full() -> CaughtMessage:
    """Text and HTML with an image and two attachments, one of them a message."""
    message, forwarded = EmailMessage(), EmailMessage()
    message["Subject"], forwarded["Subject"] = "Grüße, €uro", "Earlier"
    forwarded.set_content("code 111111 https://a.test/forwarded\n")
    message.set_content("Your code is 482913: https://a.test/reset/1\n", cte="base64")
    message.add_alternative(
        '<p>code <b>482913</b>: <a href="https://b.test/reset/1">here</a>', subtype="html"
    )
    parts: Any = message.get_payload()
    parts[1].add_related(b"GIF", "image", "gif", cid="<1>")
    message.add_attachment("a;b\r\n1;2\r\n", subtype="csv", filename="täble.csv")
    message.add_attachment(forwarded)
    return caught(message.as_bytes(policy=message.policy.clone(linesep="\r\n")))


def test_a_message_with_everything() -> None:
    message = full()
    assert message.subject == message.email["Subject"] == "Grüße, €uro"
    assert message.text == "Your code is 482913: https://a.test/reset/1\n"
    assert message.html.startswith("<p>code <b>")
    assert message.links() == ["https://a.test/reset/1", "https://b.test/reset/1"]
    assert message.link("//b.test/") == "https://b.test/reset/1"
    assert message.code() == "482913"
    image, table, earlier = message.attachments
    assert image == Attachment("", "image/gif", b"GIF")
    assert (table.filename, table.content_type) == ("täble.csv", "text/csv")
    assert table.data.split() == [b"a;b", b"1;2"]
    assert earlier.content_type == "message/rfc822"
    assert b"\r\n\r\ncode 111111 https://a.test/forwarded\r\n" in earlier.data
    assert b"\r\n" + earlier.data.strip() + b"\r\n" in message.raw
    summary = f'shop@example.test -> bob@example.test, subject "Grüße, €uro", {len(message.raw):,} octets'
    assert message.summary() == summary
    assert repr(message) == f"<Message {summary}>"


def test_a_bounce_with_a_long_subject_is_one_line() -> None:
    raw = f"Subject: =?utf-8?q?a=0Ab=E2=80=A8?= {'x' * 99}\r\n\r\n".encode()
    message = CaughtMessage("1", "", ("a@b.test", "c@d.test"), "", raw, 0.0)
    summary = message.summary()
    assert summary.startswith('<> -> a@b.test, c@d.test, subject "a')
    assert summary.isprintable()
    assert summary.endswith('x…", 139 octets')


def test_copies_are_equal_by_id_and_mailbox() -> None:
    one = CaughtMessage("1", "a@b.test", ("c@d.test",), "c@d.test", b"", 0.0)
    assert one == CaughtMessage("1", "a@b.test", ("c@d.test",), "c@d.test", b"x", 1.0)
    assert one != CaughtMessage("1", "a@b.test", ("c@d.test",), "e@d.test", b"", 0.0)
    assert len({one, one}) == 1


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            "/reset/",
            '2 links contain "/reset/"; they are:\n  https://a.test/reset/1\n  https://b.test/reset/1',
        ),
        (
            "/new/",
            'no link contains "/new/"; the links are:\n  https://a.test/reset/1\n  https://b.test/reset/1',
        ),
    ],
)
def test_a_link_that_is_not_the_only_one(part: str, said: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(said)):
        full().link(part)


def test_no_links() -> None:
    with pytest.raises(AssertionError, match=r'^no link contains "/x", there are no links: shop@'):
        plain("hello").link("/x")


CODES = {
    "in text": (plain("Your code: 482913."), r"\b\d{4,8}\b", "482913"),
    "twice": (plain("482913 is your code, 482913"), r"\b\d{4,8}\b", "482913"),
    "not in links": (plain("482913 https://a.test:8000/12345"), r"\b\d{4,8}\b", "482913"),
    "no text": (html("<style>a{width:1000px}</style><td>4829</td><td>x</td>"), r"\b\d{4,8}\b", "4829"),
    "words of HTML": (html("<p>Code</p>  <p>48<b>29</b>\r\n13</p>"), r"\d+ \d+", "4829 13"),
    "group": (plain("PIN: AB-12"), re.compile(r"PIN: (\S+)"), "AB-12"),
}


@pytest.mark.parametrize(("message", "pattern", "code"), CODES.values(), ids=CODES)
def test_code(message: CaughtMessage, pattern: str, code: str) -> None:
    assert message.code(pattern) == code


@pytest.mark.parametrize(
    ("text", "said"), [("No. 123", "no code by the"), ("1234 5678", "several codes (1234, 5678) by the")]
)
def test_no_single_code(text: str, said: str) -> None:
    with pytest.raises(AssertionError) as raised:
        plain(text).code()
    assert str(raised.value).startswith(said)
    assert str(raised.value).endswith(f" in the text:\n{text}")


BROKEN = {
    "nothing": (b"", "", ""),
    "no header": (b"hello\r\nworld", "", "hello\nworld"),
    "no boundary": (b"Content-Type: multipart/mixed\r\n\r\ncode 1234", "", "code 1234"),
    "unknown charset": (b"Content-Type: text/plain; charset=klingon\r\n\r\nf\xc3\xbcr", "", "für"),
    "no text encoding": (b"Content-Type: text/plain; charset=hex\r\n\r\nabc", "", "abc"),
    "null in the charset": (b'Content-Type: text/plain; charset="a\0b"\r\n\r\nabc', "", "abc"),
    "no charset, Latin-1": (b"Subject: x\r\n\r\nf\xfcr", "x", "für"),
    "half of a pair": (b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-x", "", "\ufffdx"),
    "bad base64": (b"Content-Transfer-Encoding: base64\r\n\r\na$b", "", "i"),
    "UTF-8 in the header": ("Subject: Grüße\r\n\r\n".encode(), "Grüße", ""),
    "Latin-1 in the header": (b"Subject: f\xfcr\r\n\r\n", "f\ufffdr", ""),
    "bad encoded word": (b"Subject: =?x?q?a?= b\r\n\r\n", "a b", ""),
}


@pytest.mark.parametrize(("raw", "subject", "text"), BROKEN.values(), ids=BROKEN)
def test_broken_messages(raw: bytes, subject: str, text: str) -> None:
    message = caught(raw)
    assert (message.subject, message.text) == (subject, text)


def test_many_levels() -> None:
    levels = [b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(2000)]
    message = caught(b"Subject: deep\r\n" + b"".join(levels) + b"\r\ncode 123456\r\n")
    assert message.subject == "deep"
    assert "code 123456" in message.text


NASTY = st.sampled_from(
    [
        *(
            b"Content-Type: ",
            b"Content-Disposition: ",
            b"Content-Transfer-Encoding: ",
            b"Subject: ",
            b"MIME-Version: ",
        ),
        *(
            b"multipart/mixed; boundary=b",
            b"text/html",
            b"text/plain",
            b"message/rfc822",
            b"; charset=",
            b"utf-7",
        ),
        *(
            b"message/delivery-status",
            b"attachment; filename=",
            b"filename*=utf-8''%",
            b"filename*0*=",
            b"=?utf-8?q?=",
        ),
        *(
            b"base64",
            b"quoted-printable",
            b"uuencode",
            b"unicode_escape",
            b"idna",
            b"\\d",
            b"undefined",
            b"?=",
            b"\0",
        ),
        *(
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b"--b\r\n",
            b"--b--",
            b" ",
            b'"',
            b";",
            b"\xff",
            b"\xc3\xbc",
            b"<",
            b"(",
        ),
        *(
            b"<![",
            b"<!",
            b"<a href=",
            b"&#x110000;",
            b"https://",
            b"mailto:",
            b"[x]",
            b">",
            b"begin 666 x\n",
            b"12345",
        ),
    ]
)


@given(st.lists(NASTY | st.binary(max_size=8), max_size=40).map(b"".join))
def test_no_message_raises(raw: bytes) -> None:
    message = caught(raw)
    seen = [message.subject, message.text, message.html, message.visible_text, *message.links()]
    seen += [word for one in message.attachments for word in (one.filename, one.content_type)]
    "".join(seen).encode()
    assert message.summary().isprintable()
    for ask in (message.code, lambda: message.link("x")):
        try:
            found = ask()
        except AssertionError as error:
            assert str(error)
        else:
            assert found in "".join(seen)
