"""Every text of a reply exists in every language, and none stands elsewhere."""

import ast
import re
from pathlib import Path

import pytest

import mailserver.pop3
from mailserver.pop3 import replies, texts
from mailserver.pop3.events import OpenFailure, ReadFailure
from mailserver.pop3.texts import LANGUAGES, RUSSIAN, ReplyText, look_up
from mailserver.sasl.steps import Reason
from tests.support.pop3 import FakeServer

CATALOGUE = {name: text for name, text in vars(texts).items() if isinstance(text, ReplyText)}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_text_in_every_language(name: str) -> None:
    english, russian = (language.of(CATALOGUE[name]) for language in LANGUAGES)
    assert english.isascii() and english.isprintable() and russian.isprintable()
    assert not english.startswith("[") and not russian.startswith("[")
    # The text of a limit comes in English only.
    assert name == "TOO_BUSY" or english.count("{}") == russian.count("{}")
    plain = re.sub(r"\{\}|POP3|TLS|STLS|UTF-?8|AUTH|APOP|USER", "", russian)
    assert re.search("[\u0430-\u044f]", plain) and not re.search("[A-Za-z]", plain)
    assert len(russian.encode()) < 300


def test_all_texts_are_used_and_none_stands_elsewhere() -> None:
    """A call that says something takes its text from the catalogue."""
    used = set()
    for path in Path(mailserver.pop3.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in CATALOGUE:
                used.add(node.attr)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
                *("ok", "_ok", "err"),
            ):
                assert not any(isinstance(each, ast.Constant | ast.JoinedStr) for each in node.args), path
    assert used | {"_ONE_MESSAGE", "_MESSAGES"} == set(CATALOGUE)


def test_the_texts_of_failures() -> None:
    for failure in (*replies.LOGIN_FAILED.values(), *replies.NOT_OPENED.values()):
        english, russian = failure.octets, failure.said_in(RUSSIAN)
        code = re.compile(rb"-ERR (\[[A-Z/-]+\] )?")
        assert code.match(english)[0] == code.match(russian)[0] and not russian.isascii()  # type: ignore[index]
    assert set(replies.LOGIN_FAILED) == set(Reason) and set(replies.NOT_OPENED) == set(OpenFailure)
    assert len({replies.unreadable(1, each).octets for each in ReadFailure}) == len(ReadFailure)


def test_a_client_that_has_exceeded_a_limit() -> None:
    server = FakeServer()
    assert server.session.too_busy("too many {commands}") == b"-ERR [SYS/TEMP] too many {commands}\r\n"
    server.feed(b"LANG ru\r\n")
    assert server.session.too_busy("too many {commands}").decode().startswith("-ERR [SYS/TEMP] превышено ")


def test_russian_comes_only_after_lang() -> None:
    server = FakeServer()
    for command in (b"UTF8", b"LANG xx", b"LANG ", b"USER \xff", b"USER x", b"PASS \xff", b"CAPA", b"x"):
        said = server.feed(command + b"\r\n")
        assert said.isascii() or command == b"LANG "
        assert said.partition(b"\r\n")[0].isascii()


@pytest.mark.parametrize(
    ("language_range", "tag"),
    [
        ("ru", "ru"),
        ("RU-ru", "ru"),
        ("ru-x-y", "ru"),
        ("en-a-bcd-x-e", "en"),
        ("i-default", "en"),
        ("i-other", None),
        ("i", None),
        ("de-ru", None),
        ("r", None),
        ("*", "ru"),
    ],
)
def test_lookup(language_range: str, tag: str | None) -> None:
    found = look_up(language_range, "ru")
    assert (found and found.tag) == tag
