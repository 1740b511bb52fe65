"""Whole sessions from files, however their bytes arrive."""

import pytest

from tests.support.dialogue_checks import DialogueChecks
from tests.support.dialogue_files import DialogueFile
from tests.support.pop3 import DIALOGUES, FakeServer, read_dialogue, server_for

EVERY = [pytest.param(read_dialogue(path), id=path.stem) for path in sorted(DIALOGUES.glob("*.txt"))]


@pytest.mark.parametrize("dialogue", EVERY)
class TestDialogues(DialogueChecks):
    def server_for(self, dialogue: DialogueFile) -> FakeServer:
        return server_for(dialogue)

    def check_end(self, dialogue: DialogueFile, server: FakeServer) -> None:  # type: ignore[override]
        assert server.session.closed == (dialogue.one("ends", "closed") == "closed")
        removed = [str(index + 1) for index in server.removed or ()]
        assert removed == dialogue.one("removes", "").split()

    def test_what_trails_behind(self, dialogue: DialogueFile) -> None:
        """A further half of a command is kept while the session lives, and ignored afterwards."""
        server = server_for(dialogue)
        server.greeting()
        assert server.feed(dialogue.sent + b"NO") == dialogue.expected
        assert server.session.pending == (not server.session.closed)
        assert server.feed(b"OP\r\n") == (b"" if server.session.closed else b"+OK\r\n")
        self.check_end(dialogue, server)


def test_the_dialogues_are_found() -> None:
    assert len(EVERY) > 20
