"""Whole sessions from files, however their bytes arrive."""

from collections.abc import Iterable

import pytest

from tests.dialogue_files import DialogueFile
from tests.pop3.pop3_fakes import DIALOGUES, FakeServer, read_dialogue, server_for

EVERY = [pytest.param(read_dialogue(path), id=path.stem) for path in sorted(DIALOGUES.glob("*.txt"))]


def play(dialogue: DialogueFile, pieces: Iterable[bytes]) -> bytes:
    """All that is said after the greeting; the end of the dialogue is checked, too."""
    server = server_for(dialogue)
    assert server.greeting() == dialogue.greeting
    said = b"".join([server.feed(piece) for piece in pieces])
    check_end(dialogue, server)
    return said


def check_end(dialogue: DialogueFile, server: FakeServer) -> None:
    assert server.session.closed == (dialogue.one("ends", "closed") == "closed")
    removed = [str(index + 1) for index in server.removed or ()]
    assert removed == dialogue.one("removes", "").split()


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
    for i in range(1, len(sent)):
        assert play(dialogue, [sent[:i], sent[i:]]) == dialogue.expected


@pytest.mark.parametrize("dialogue", EVERY)
def test_each_piece_brings_half_of_the_next_command(dialogue: DialogueFile) -> None:
    pieces, held = [], b""
    for sent, _ in dialogue.steps[1:]:
        pieces.append(held + sent[: len(sent) // 2])
        held = sent[len(sent) // 2 :]
    assert play(dialogue, [*pieces, held]) == dialogue.expected


@pytest.mark.parametrize("dialogue", EVERY)
def test_what_trails_behind(dialogue: DialogueFile) -> None:
    """A further half of a command is kept while the session lives, and ignored afterwards."""
    server = server_for(dialogue)
    server.greeting()
    assert server.feed(dialogue.sent + b"NO") == dialogue.expected
    assert server.session.pending == (not server.session.closed)
    assert server.feed(b"OP\r\n") == (b"" if server.session.closed else b"+OK\r\n")
    check_end(dialogue, server)


def test_the_dialogues_are_found() -> None:
    assert len(EVERY) > 20
