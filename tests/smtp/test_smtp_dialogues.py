"""Whole sessions from files, however their bytes arrive."""

import pytest

from tests.support.dialogue_checks import DialogueChecks
from tests.support.dialogue_files import DialogueFile
from tests.support.smtp import DIALOGUES, FakeServer, read_dialogue, server_for

EVERY = [pytest.param(read_dialogue(path), id=path.stem) for path in sorted(DIALOGUES.glob("*.txt"))]


@pytest.mark.parametrize("dialogue", EVERY)
class TestDialogues(DialogueChecks):
    def server_for(self, dialogue: DialogueFile) -> FakeServer:
        return server_for(dialogue)

    def check_end(self, dialogue: DialogueFile, server: FakeServer) -> None:  # type: ignore[override]
        assert [str(kept) for kept in server.kept] == dialogue.directives.get("keeps", [])
        assert server.session.closed == (dialogue.one("ends", "closed") == "closed")

    def test_what_trails_behind(self, dialogue: DialogueFile) -> None:
        """A further half of a command is kept while the session lives, and ignored afterwards."""
        server = server_for(dialogue)
        server.greeting()
        in_text = dialogue.one("ends", "closed") == "text"
        assert server.feed(dialogue.sent + b"NO") == dialogue.expected
        said = server.feed(b"OP\r\n")
        assert said == (b"" if server.session.closed or in_text else b"250 2.0.0 Ok\r\n")


def test_the_dialogues_are_found() -> None:
    assert len(EVERY) > 20
