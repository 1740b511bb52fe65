"""The ways in which every dialogue is played: however its bytes arrive, the replies are the same."""

from collections.abc import Iterable
from typing import Protocol

from tests.support.dialogue_files import DialogueFile

# Cuts of one dialogue; of long ones not every offset is tried.
MAX_CUTS = 500


class Server(Protocol):
    """A stand-in for the server around a session, which answers every event at once."""

    def greeting(self) -> bytes: ...
    def feed(self, data: bytes) -> bytes: ...


class DialogueChecks:
    """Tests for a class that is parametrised with ``dialogue``; a protocol adds what is its own."""

    def server_for(self, dialogue: DialogueFile) -> Server:
        """A server as the directives describe it."""
        raise NotImplementedError

    def check_end(self, dialogue: DialogueFile, server: Server) -> None:
        """Fail unless the server has come to the end that the directives tell."""
        raise NotImplementedError

    def play(self, dialogue: DialogueFile, pieces: Iterable[bytes]) -> bytes:
        """All that is said after the greeting."""
        server = self.server_for(dialogue)
        assert server.greeting() == dialogue.greeting
        said = b"".join([server.feed(piece) for piece in pieces])
        self.check_end(dialogue, server)
        return said

    def test_line_by_line(self, dialogue: DialogueFile) -> None:
        server = self.server_for(dialogue)
        assert server.greeting() == dialogue.greeting
        for sent, expected in dialogue.steps[1:]:
            assert (sent, server.feed(sent)) == (sent, expected)
        self.check_end(dialogue, server)

    def test_byte_by_byte(self, dialogue: DialogueFile) -> None:
        server = self.server_for(dialogue)
        server.greeting()
        for sent, expected in dialogue.steps[1:]:
            said = b"".join([server.feed(sent[i : i + 1]) for i in range(len(sent))])
            assert (sent, said) == (sent, expected)
        self.check_end(dialogue, server)

    def test_all_at_once(self, dialogue: DialogueFile) -> None:
        assert self.play(dialogue, [dialogue.sent]) == dialogue.expected

    def test_cut_in_two_at_every_offset(self, dialogue: DialogueFile) -> None:
        sent = dialogue.sent
        for i in range(1, len(sent), len(sent) // MAX_CUTS + 1):
            assert self.play(dialogue, [sent[:i], sent[i:]]) == dialogue.expected

    def test_each_piece_brings_half_of_the_next_command(self, dialogue: DialogueFile) -> None:
        pieces, held = [], b""
        for sent, _ in dialogue.steps[1:]:
            pieces.append(held + sent[: len(sent) // 2])
            held = sent[len(sent) // 2 :]
        assert self.play(dialogue, [*pieces, held]) == dialogue.expected
