"""Paths: what the loose syntax takes, that strict syntax refuses it, and that all can be written again."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Address, format_path
from mailserver.session.verbs import Refused
from mailserver.smtp.syntax import decode, parse_mail, parse_rcpt
from tests.support.smtp import SETTINGS

STRICT = attrs.evolve(SETTINGS, strict_syntax=True)

# What is sent, and the path as it is written in an envelope or a trace field.
LOOSE = [
    ("<a..b@c.example>", '<"a..b"@c.example>'),
    ("<a.@c.example>", '<"a."@c.example>'),
    ("<.a@c.example>", '<".a"@c.example>'),
    ("<..@c.example>", '<".."@c.example>'),
    ("a..b@c.example", '<"a..b"@c.example>'),
    ("<a@c.example >", "<a@c.example>"),
    ("< a@c.example>", "<a@c.example>"),
    ("<root@host (fcron)>", "<root@host>"),
    ("<root(cron \\) (d))@host>", "<root@host>"),
    ("< (x) root @ (y) host\t>", "<root@host>"),
    ("<(<x>)root@host>", "<root@host>"),
    ("<a@c.example.>", "<a@c.example>"),
    ("a@c.example.", "<a@c.example>"),
    ('<"a b" @c.example.>', '<"a b"@c.example>'),
    ("\t<a@c.example>\tSIZE=1", "<a@c.example>"),
    ("<@relay.example: a@c.example >", "<a@c.example>"),
    ("<root (cron)>", "<root@example.org>"),
    ("<a@c. example>", "<a@c.example>"),
    ("<a@c .example>", "<a@c.example>"),
    ("<a@c\t.\t(x) example. >", "<a@c.example>"),
    ("<a@c.(x)example(.y)>", "<a@c.example>"),
    ("< >", "<>"),
    ("<(nobody)>", "<>"),
]


@pytest.mark.parametrize(("sent", "written"), LOOSE)
def test_loose_paths(sent: str, written: str) -> None:
    path, _ = parse_mail(f"FROM:{sent}", SETTINGS)
    assert format_path(path) == written
    assert parse_mail(f"FROM:{written}", STRICT) == (path, {})
    with pytest.raises(Refused) as refused:
        parse_mail(decode(f"FROM:{sent}".encode(), STRICT), STRICT)
    assert refused.value.reply.octets.startswith(b"501 ")


@pytest.mark.parametrize(
    "path",
    [
        "<a@[IPv6:fe80::1%anything]>",
        "<a@[IPv6:fe80::1%anything>]>",
        "a@[IPv6:fe80::1%anything>,x]",
        "<a@[ipv6:::1%]>",
        "a@[192.0.2.1%eth0]",
        "a@[x-tag:a>b]",
        "<a@c.example (x>",
        "<a@c.example x>",
        "<a@c. .example>",
        "<a@[192.0.2.1] .example>",
        "<a@ .>",
        "<a@c.example..>",
        "<a@.>",
        "<.@>",
        "a@c.example>",
        "<a\t@c.example\t>x",
        '<"a\tb"@c.example>',
        "<" + "(" * 400 + "a@c.example>",
    ],
)
@pytest.mark.parametrize("settings", [SETTINGS, STRICT], ids=["loose", "strict"])
def test_what_is_no_path(path: str, settings: object) -> None:
    for parse, keyword in ((parse_mail, "FROM:"), (parse_rcpt, "TO:")):
        with pytest.raises(Refused) as refused:
            parse(keyword + path, settings)  # type: ignore[arg-type]
        assert refused.value.reply.octets.startswith(b"501 ")


def test_one_mailbox_however_it_is_written() -> None:
    quoted, *_ = parse_rcpt('TO:<"A..b"@example.org>', SETTINGS)
    bare, *_ = parse_rcpt("TO:<a..B@example.org.>", SETTINGS)
    assert quoted.key == bare.key == Address("a..b", "example.org")


pieces = st.lists(
    st.sampled_from(
        [*'<>@.:,;"\\()[]% \t', "a", "b.c", "x.example", "[192.0.2.1]", "[IPv6:", "fe80::1", "%e", "[x:y]",
         "@x.example:", "(c)", '"q q"', "\u00fc"]
    ) | st.characters(min_codepoint=32, max_codepoint=126),
    max_size=12,
).map("".join)  # fmt: skip
paths = st.builds(
    "".join, st.tuples(st.sampled_from(["", "<", "< "]), pieces, pieces, st.sampled_from(["", ">", " >"]))
)
addresses = st.builds(
    lambda local, domain: f"<{local}@{domain}>",
    st.text(st.sampled_from('a.+b"\\ (\t'), min_size=1, max_size=6),
    st.sampled_from(
        ["x.example", "x.example.", "[192.0.2.1]", "[IPv6:fe80::1%e]", "[x:a;b]", " x (y)", "x_y."]
    ),
)


@given(paths | addresses)
def test_what_is_taken_can_be_written_in_valid_form(path: str) -> None:
    try:
        taken, _ = parse_mail(f"FROM:{path}", SETTINGS)
    except Refused:
        return
    written = format_path(taken)
    assert written.isascii() and written.isprintable()
    assert parse_mail(f"FROM:{written}", STRICT) == (taken, {})
