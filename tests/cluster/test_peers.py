"""Questions between workers: the contract, and the supervisor while a worker starts or has ended."""

import pickle
from types import MappingProxyType

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailserver.cluster.alone import Alone
from mailserver.cluster.conversation import Conversation
from mailserver.cluster.frames import SUPERVISOR, Frame, FrameKind, content, failure, question
from mailserver.cluster.switchboard import PATIENCE, Switchboard
from mailserver.errors import MailboxFull, MailserverError, StorageError
from mailserver.events.cluster import QuestionFailed
from tests.support.peers import peers


class Server:
    """A supervisor with workers in one process; frames are encoded as on a socket."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        self.numbers = range(1, count + 1)
        self.switchboard = Switchboard(self.numbers, self.clock)
        self.workers = [self.start(number) for number in self.numbers]
        for number in self.numbers:
            self.switchboard.ready(number)

    def start(self, number: int) -> Conversation:
        def to_supervisor(frame: Frame) -> None:
            self.switchboard.received(number, Frame.decoded(frame.encoded()[4:]))

        others = [each for each in self.numbers if each != number]
        worker = Conversation(number, others, to_supervisor)
        self.switchboard.started(number, lambda frame: worker.received(Frame.decoded(frame.encoded()[4:])))
        return worker


@pytest.fixture(params=["in one process", "through a supervisor"])
def three(request):
    return peers(3) if request.param == "in one process" else Server(3).workers


class Slow:
    """Answers later."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[str]] = []

    def __call__(self, value: object) -> Deferred[str]:
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def answer(self, value: str) -> None:
        for each in self._waiting:
            each.callback(value)


def result(asked):
    found = []
    asked.addBoth(found.append)
    return found


def test_an_answer(three):
    three[1].serve("double", lambda value: value * 2)
    assert result(three[0].ask(2, "double", 21)) == [42]


def test_an_answer_that_comes_later(three):
    later = Deferred()
    three[1].serve("later", lambda value: later)
    found = result(three[0].ask(2, "later"))
    assert found == []
    later.callback("now")
    assert found == ["now"]


def test_all_others_are_asked(three):
    for peer in three:
        peer.serve("who", lambda value, peer=peer: peer.number)
    assert [sorted(found) for found in result(three[1].ask_others("who"))] == [[1, 3]]
    assert list(three[1].others) == [1, 3]


def test_an_exception_of_the_domain_is_that_of_the_question(three):
    def full(value):
        raise MailboxFull("the mailbox is full", ("alice@example.org",))

    three[2].serve("full", full)
    [failed] = result(three[0].ask(3, "full"))
    assert failed.check(MailboxFull)
    assert failed.value.mailboxes == ("alice@example.org",)
    assert str(failed.value) == "the mailbox is full"


def test_one_failure_fails_the_question_to_all(three):
    def refuse(value):
        raise StorageError("not now")

    three[0].serve("sync", refuse)
    three[2].serve("sync", lambda value: None)
    [failed] = result(three[1].ask_others("sync"))
    assert failed.check(StorageError)
    assert str(failed.value) == "not now"


def test_nobody_waits_for_what_is_told(three):
    told = []
    three[1].serve("note", told.append)
    three[0].tell(2, "note", MappingProxyType({"a": 1}) if isinstance(three[0], Conversation) else {"a": 1})
    assert told == [{"a": 1}]


def test_alone_there_is_nobody():
    alone = Alone()
    alone.serve("who", lambda value: value)
    assert result(alone.ask_others("who")) == [[]]
    assert result(alone.ask(2, "who"))[0].check(StorageError)
    assert alone.tell(2, "who") is None


# ---------------------------------------------------------------- through a supervisor


def test_a_bug_is_logged_and_no_answer(journal):
    server = Server(2)
    server.workers[0].serve("broken", lambda value: 1 / 0)
    [failed] = result(server.workers[1].ask(1, "broken"))
    assert failed.check(StorageError)
    assert "worker 1 cannot answer" in str(failed.value)
    [event] = journal.events
    assert isinstance(event["log_event"], QuestionFailed)
    journal.events.clear()  # the traceback is expected


@pytest.mark.parametrize(
    ("to", "subject", "reason"),
    [(9, "who", "there is no worker 9"), (1, "nonsense", "the worker does not know this question")],
)
def test_what_nobody_can_answer(to, subject, reason):
    [failed] = result(Server(2).workers[1].ask(to, subject))
    assert failed.check(StorageError)
    assert str(failed.value) == reason


def test_the_end_of_a_worker_fails_its_questions_and_no_others():
    server = Server(3)
    slow = Slow()
    server.workers[0].serve("wait", slow)
    server.workers[2].serve("wait", slow)
    lost, kept = (result(server.workers[1].ask(number, "wait")) for number in (1, 3))
    server.switchboard.gone(1)
    assert [str(each.value) for each in lost] == ["worker 1 has ended"]
    assert kept == []
    slow.answer("done")
    assert kept == ["done"]
    assert len(lost) == 1


def test_a_question_waits_for_a_worker_that_starts():
    server = Server(2)
    server.switchboard.gone(1)
    found = result(server.workers[1].ask(1, "who"))
    server.clock.advance(PATIENCE - 1)
    again = server.start(1)
    again.serve("who", lambda value: "again")
    second = result(server.workers[1].ask(1, "who"))
    assert found == second == []
    server.switchboard.ready(1)
    assert found == second == ["again"]
    server.clock.advance(PATIENCE)
    assert found == ["again"]
    server.switchboard.stop()


def test_a_question_does_not_wait_for_ever():
    server = Server(2)
    server.switchboard.gone(1)
    found = result(server.workers[1].ask(1, "who"))
    server.clock.advance(PATIENCE)
    assert [str(each.value) for each in found] == ["worker 1 does not start in time"]
    assert not server.clock.getDelayedCalls()


def test_an_answer_for_a_worker_that_has_ended_goes_nowhere():
    server = Server(2)
    slow = Slow()
    server.workers[0].serve("wait", slow)
    before = result(server.workers[1].ask(1, "wait"))
    server.switchboard.gone(2)
    again = server.start(2)
    server.switchboard.ready(2)
    after = result(again.ask(1, "wait"))
    slow.answer("done")
    assert before == []
    assert after == ["done"]


def test_the_supervisor_asks_and_answers():
    server = Server(2)
    server.workers[1].serve("stop", lambda value: "stopped")
    server.switchboard.own.serve("drained", lambda value: f"worker {value}")
    assert result(server.switchboard.own.ask(2, "stop")) == ["stopped"]
    assert result(server.workers[0].ask(SUPERVISOR, "drained", 1)) == ["worker 1"]


def test_without_a_supervisor_all_questions_fail():
    server = Server(2)
    slow = Slow()
    server.workers[0].serve("wait", slow)
    before = result(server.workers[1].ask(1, "wait"))
    server.workers[1].lost(StorageError("the supervisor has ended"))
    after = result(server.workers[1].ask(1, "wait"))
    assert [str(each[0].value) for each in (before, after)] == ["the supervisor has ended"] * 2
    slow.answer("late")


def test_a_cancelled_question_is_forgotten():
    server = Server(2)
    slow = Slow()
    server.workers[0].serve("wait", slow)
    asked = server.workers[1].ask(1, "wait")
    found = result(asked)
    asked.cancel()
    slow.answer("late")
    assert len(found) == 1


class Odd(MailserverError):
    """An exception that pickle cannot copy."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("odd")


def test_an_exception_that_cannot_be_copied_keeps_its_text():
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(Odd(1, 2)))
    found = content(failure(1, 2, Odd(1, 2)))
    assert type(found) is StorageError
    assert str(found) == "odd"


@pytest.mark.parametrize("data", [b"", b"\x01\x00", b"\x09" + bytes(10)])
def test_octets_that_are_no_frame(data):
    with pytest.raises(ValueError):
        Frame.decoded(data)


def test_a_frame_survives_the_socket():
    frame = question(3, 7, "accept", b"\r\n" * 1000)
    assert Frame.decoded(frame.encoded()[4:]) == frame
    assert frame.kind is FrameKind.QUESTION
    assert content(frame) == ("accept", b"\r\n" * 1000)
