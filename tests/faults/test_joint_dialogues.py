"""Without rules the joint changes nothing: every dialogue of both protocols is the same through it."""

from collections.abc import Iterable
from typing import Any

import pytest

from mailserver.faults.moments import POP3, SMTP
from tests.support import pop3, smtp
from tests.support.dialogue_files import DialogueFile
from tests.support.scripted import greeting, put_joint_in_front, script_of

EVERY = [
    pytest.param(protocol, module, path, id=f"{protocol}-{path.stem}")
    for protocol, module in ((SMTP, smtp), (POP3, pop3))
    for path in sorted(module.DIALOGUES.glob("*.txt"))
]


def play(protocol: str, module: Any, dialogue: DialogueFile, pieces: Iterable[bytes]) -> tuple[bytes, Any]:
    """What the server says after its greeting, and the server."""
    server = module.server_for(dialogue)
    put_joint_in_front(server, script_of(protocol))
    assert greeting(server) == dialogue.greeting
    return b"".join([server.feed(piece) for piece in pieces]), server


@pytest.mark.parametrize(("protocol", "module", "path"), EVERY)
class TestDialoguesThroughTheJoint:
    def test_all_at_once(self, protocol: str, module: Any, path: Any) -> None:
        dialogue = module.read_dialogue(path)
        said, server = play(protocol, module, dialogue, [dialogue.sent])
        assert said == dialogue.expected
        assert server.session.closed == (dialogue.one("ends", "closed") == "closed")

    def test_byte_by_byte(self, protocol: str, module: Any, path: Any) -> None:
        dialogue = module.read_dialogue(path)
        sent = dialogue.sent
        said, server = play(protocol, module, dialogue, [sent[i : i + 1] for i in range(len(sent))])
        assert said == dialogue.expected
        assert server.session.closed == (dialogue.one("ends", "closed") == "closed")

    def test_the_same_mail_is_kept_and_removed(self, protocol: str, module: Any, path: Any) -> None:
        dialogue = module.read_dialogue(path)
        _, server = play(protocol, module, dialogue, [dialogue.sent])
        if protocol == SMTP:
            assert [str(kept) for kept in server.kept] == dialogue.directives.get("keeps", [])
        else:
            removed = [str(index + 1) for index in server.removed or ()]
            assert removed == dialogue.one("removes", "").split()


def test_the_dialogues_are_found() -> None:
    assert len(EVERY) > 100
