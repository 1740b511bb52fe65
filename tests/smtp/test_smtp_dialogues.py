"""Whole sessions from files, however their bytes arrive."""

from collections.abc import Iterable

import pytest

from tests.dialogue_files import DialogueFile
from tests.smtp.smtp_fakes import DIALOGUES, FakeServer, read_dialogue, server_for

EVERY = [pytest.param(read_dialogue(path), id=path.stem) for path in sorted(DIALOGUES.glob("*.txt"))]


def play(dialogue: DialogueFile, pieces: Iterable[bytes]) -> bytes:
    """All that is said after the greeting; the end of the dialogue is checked, too."""
    server = server_for(dialogue)
    assert server.greeting() == dialogue.greeting
    said = b"".join([server.feed(piece) for piece in pieces])
    check_end(dialogue, server)
    return said


def check_end(dialogue: DialogueFile, server: FakeServer) -> None:
    assert [str(kept) for kept in server.kept] == dialogue.directives.get("keeps", [])
    assert server.session.closed == (dialogue.one("ends", "closed") == "closed")


@pytest.mark.parametrize("dialogue", EVERY)
def test_line_by_line(dialogue: DialogueFile) -> None:
    server = server_for(dialogue)
    assert server.greeting() == dialogue.greeting
    for sent, expected in dialogue.steps[1:]:
        assert (sent, server.feed(sent)) == (sent, expected)
    check_end(dialogue, server)


@pytest.mark.parametrize("dialogue", EVERY)
def test_byte_by_byte(dialogue: DialogueFile) -> None:
    server = server_for(dialogue)
    server.greeting()
    for sent, expected in dialogue.steps[1:]:
        said = b"".join([server.feed(sent[i : i + 1]) for i in range(len(sent))])
        assert (sent, said) == (sent, expected)
    check_end(dialogue, server)


@pytest.mark.parametrize("dialogue", EVERY)
def test_all_at_once(dialogue: DialogueFile) -> None:
    assert play(dialogue, [dialogue.sent]) == dialogue.expected


@pytest.mark.parametrize("dialogue", EVERY)
def test_cut_in_two_at_every_offset(dialogue: DialogueFile) -> None:
    sent = dialogue.sent
    step = max(1, len(sent) // 2000)
    for i in range(1, len(sent), step):
        assert play(dialogue, [sent[:i], sent[i:]]) == dialogue.expected


@pytest.mark.parametrize("dialogue", EVERY)
def test_what_trails_behind(dialogue: DialogueFile) -> None:
    """A further half of a command is kept while the session lives, and ignored afterwards."""
    server = server_for(dialogue)
    server.greeting()
    in_text = dialogue.one("ends", "closed") == "text"
    assert server.feed(dialogue.sent + b"NO") == dialogue.expected
    said = server.feed(b"OP\r\n")
    assert said == (b"" if server.session.closed or in_text else b"250 2.0.0 Ok\r\n")


def test_the_dialogues_are_found() -> None:
    assert len(EVERY) > 15
