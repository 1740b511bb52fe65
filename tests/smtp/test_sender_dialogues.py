"""Whole sessions with servers, from files, however the octets of the server arrive."""

import pytest

from tests.support.sender import SENDER_DIALOGUES, SenderCaller, SenderDialogue, read_sender_dialogues

EVERY = [
    dialogue for path in sorted(SENDER_DIALOGUES.glob("*.txt")) for dialogue in read_sender_dialogues(path)
]
# With BDAT, a reply that comes before its command ends the session.
NOT_CHUNKED = [dialogue for dialogue in EVERY if b"BDAT" not in dialogue.expected]


def name_of(dialogue: SenderDialogue) -> str:
    return dialogue.name


def finish(dialogue: SenderDialogue, caller: SenderCaller) -> None:
    """The end of every way to play a dialogue."""
    if dialogue.lost:
        caller.lose()
    assert caller.results == dialogue.results
    assert caller.end == dialogue.ends.replace("open", "")
    caller.session.receive(b"250 trailing\r\n")
    if caller.session.closed:
        assert caller.pump() == b""


class TestSenderDialogues:
    @pytest.mark.parametrize("dialogue", EVERY, ids=name_of)
    def test_step_by_step(self, dialogue: SenderDialogue) -> None:
        caller = SenderCaller(dialogue)
        for sent, expected in dialogue.steps:
            assert (sent, caller.feed(sent)) == (sent, expected)
        finish(dialogue, caller)

    @pytest.mark.parametrize("dialogue", EVERY, ids=name_of)
    def test_byte_by_byte(self, dialogue: SenderDialogue) -> None:
        caller = SenderCaller(dialogue, piece=1)
        for sent, expected in dialogue.steps:
            said = b"".join([caller.feed(sent[at : at + 1]) for at in range(len(sent))])
            assert (sent, said) == (sent, expected)
        finish(dialogue, caller)

    @pytest.mark.parametrize("dialogue", NOT_CHUNKED, ids=name_of)
    def test_all_at_once(self, dialogue: SenderDialogue) -> None:
        caller = SenderCaller(dialogue)
        assert caller.feed(dialogue.sent) == dialogue.expected
        finish(dialogue, caller)

    @pytest.mark.parametrize("dialogue", NOT_CHUNKED, ids=name_of)
    def test_cut_in_two_everywhere(self, dialogue: SenderDialogue) -> None:
        sent = dialogue.sent
        for offset in range(0, len(sent), len(sent) // 150 + 1):
            caller = SenderCaller(dialogue)
            assert caller.feed(sent[:offset]) + caller.feed(sent[offset:]) == dialogue.expected
            finish(dialogue, caller)


def test_the_dialogues_are_found() -> None:
    assert len(EVERY) > 40
