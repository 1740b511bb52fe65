"""The ways in which every dialogue is played: however its bytes arrive, the replies are the same."""

from collections.abc import Iterable
from typing import Protocol

from tests.support.dialogue_files import DialogueFile

# Of longer commands not every offset is tried.
EVERY, MORE = 200, 100


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

    def test_each_piece_brings_a_part_of_the_next_command(self, dialogue: DialogueFile) -> None:
        """So every command is cut in two at every offset, with all of the one before in the same piece."""
        steps = [sent for sent, _ in dialogue.steps[1:]]
        longest = max(map(len, steps))
        for offset in (*range(min(longest, EVERY)), *range(EVERY, longest, longest // MORE + 1)):
            pieces, held = [], b""
            for sent in steps:
                pieces.append(held + sent[:offset])
                held = sent[offset:]
            assert self.play(dialogue, [*pieces, held]) == dialogue.expected
