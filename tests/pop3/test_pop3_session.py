"""The session's edges: what waits for whom, how it ends, and what it costs."""

import tracemalloc
from collections.abc import Callable

import pytest

from mailserver.mail.snapshot import Snapshot
from mailserver.pop3.events import MaildropWanted, MessageWanted, OpenFailure, ReadFailure, UpdateWanted
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import welcome
from mailserver.pop3.session import POP3Session
from mailserver.pop3.texts import ENGLISH
from mailserver.pop3.verbs import MAX_LINE
from mailserver.sasl.steps import CheckPassword, Denied, Granted, Reason
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, OutputFull
from tests.support.pop3 import SETTINGS, FakeServer, maildrop_of, message_of

TWO = maildrop_of([message_of(120), message_of(200)])
ASKED = LoginAsked("USER", CheckPassword("mrose", "secret"))
MROSE = Granted("mrose@example.org")


def waiting_for(command: bytes) -> POP3Session:
    """A session with two messages that waits for the answer to ``command``; nothing is left queued."""
    session = POP3Session(SETTINGS)
    session.greet()
    session.receive(b"USER mrose\r\nPASS secret\r\n")
    assert session.next_event() == ASKED
    if command == b"wrong password":
        session.answer(Denied())
        assert session.next_event() == LoginRefused("USER", "mrose", Reason.CREDENTIALS)
    elif command != b"password":
        session.answer(MROSE)
        assert session.next_event() == MaildropWanted("mrose@example.org")
        if command != b"right password":
            session.answer(Snapshot.of(TWO))
            session.receive(command + b"\r\n")
            assert session.next_event() is not None
    session.take_output()
    return session


def test_nothing_is_run_while_an_answer_is_awaited() -> None:
    session = POP3Session(SETTINGS)
    session.greet()
    session.receive(b"USER mrose\r\nPASS secret\r\nSTAT\r\nRETR 2\r\nQUIT\r\n")
    assert session.next_event() == ASKED
    assert session.take_output() == b"+OK dewey POP3 server ready\r\n+OK send the password\r\n"
    session.receive(b"NOOP\r\n")
    assert session.next_event() is None
    assert (session.paused, session.pending, session.take_output()) == (True, True, b"")
    session.answer(MROSE)
    assert session.next_event() == MaildropWanted("mrose@example.org")
    assert (session.next_event(), session.paused, session.take_output()) == (None, True, b"")
    session.answer(Snapshot.of(TWO))
    assert session.next_event() == MessageWanted(1, None)
    assert session.take_output() == b"+OK mrose's maildrop has 2 messages (320 octets)\r\n+OK 2 320\r\n"
    assert session.next_event() is None
    session.send_text(b"Subject: x\r\n\r\n")
    assert session.next_event() is None
    session.answer(b"")
    assert session.next_event() == UpdateWanted(())
    assert session.take_output() == b"+OK 200 octets\r\nSubject: x\r\n\r\n.\r\n"
    session.answer(frozenset())
    assert session.take_output() == b"+OK dewey POP3 server signing off (2 messages left)\r\n"
    assert (session.next_event(), session.closed, session.pending) == (None, True, False)


def test_the_events_carry_indexes_from_zero() -> None:
    session = waiting_for(b"DELE 2\r\nTOP 1 10")
    session.send_text(b"\r\n")
    session.answer(b"")
    session.receive(b"QUIT\r\n")
    assert session.next_event() == UpdateWanted((1,))


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(ASKED)


def test_a_wrong_state_asks_for_no_password() -> None:
    session = POP3Session(POP3Options(hostname="dewey"))
    session.receive(b"USER mrose\r\nPASS secret\r\n")
    assert isinstance(session.next_event(), CommandRefused)
    assert session.next_event() is None
    assert session.take_output().count(b"-ERR") == 2


ANSWERS: dict[bytes, Callable[[POP3Session], None]] = {
    b"password": lambda session: session.answer(MROSE),
    b"wrong password": lambda session: session.answer(None),
    b"right password": lambda session: session.answer(Snapshot.of(TWO)),
    b"right password ": lambda session: session.answer(OpenFailure.IN_USE),
    b"RETR 1": lambda session: session.send_text(b"x"),
    b"RETR 2": lambda session: session.answer(b""),
    b"TOP 1 1": lambda session: session.answer(ReadFailure.REMOVED),
    b"QUIT": lambda session: session.answer(frozenset()),
}


@pytest.mark.parametrize("command", ANSWERS)
def test_an_answer_that_nobody_awaits_is_a_mistake(command: bytes) -> None:
    answer = ANSWERS[command]
    with pytest.raises(RuntimeError):
        answer(POP3Session(SETTINGS))
    session = waiting_for(b"STAT\r\nNOOP\r\nRETR 1")
    session.answer(b"")
    with pytest.raises(RuntimeError):
        answer(session)


@pytest.mark.parametrize("command", ANSWERS)
def test_after_the_end_answers_are_ignored(command: bytes) -> None:
    session = waiting_for(command.strip())
    session.disconnect()
    assert (session.closed, session.paused, session.wants_text) == (True, False, False)
    ANSWERS[command](session)
    session.receive(b"QUIT\r\n")
    assert (session.next_event(), session.take_output(), session.pending) == (None, b"", False)


def test_shutting_down_removes_nothing_and_says_nothing() -> None:
    session = waiting_for(b"DELE 1\r\nRETR 2")
    session.answer(b"")
    session.receive(b"DELE 2\r\nQUIT\r\n")
    session.disconnect()
    assert session.next_event() is None
    # What was queued before may still be sent.
    assert session.take_output() == b"+OK 200 octets\r\n.\r\n"


def test_a_text_that_breaks_off_is_not_ended() -> None:
    session = waiting_for(b"RETR 1")
    session.send_text(b"Subject: half\r\n")
    session.receive(b"DELE 1\r\nQUIT\r\n")
    session.answer(ReadFailure.TEMPORARY)
    assert session.take_output() == b"+OK 120 octets\r\nSubject: half\r\n"
    assert (session.closed, session.next_event()) == (True, None)


def test_top_says_when_it_has_enough() -> None:
    session = waiting_for(b"TOP 1 1")
    assert session.wants_text
    session.send_text(b"A: 1\r\n\r\none\r")
    assert session.wants_text
    session.send_text(b"\ntwo\r\n")
    assert not session.wants_text
    session.send_text(b"three\r\n")
    session.answer(b"")
    assert session.take_output() == b"+OK top of message follows\r\nA: 1\r\n\r\none\r\n.\r\n"
    assert not session.wants_text
    # The next RETR is whole again.
    session.receive(b"RETR 1\r\n")
    session.next_event()
    session.send_text(b"A: 1\r\n\r\none\r\ntwo\r\n")
    assert session.wants_text
    session.answer(b"")
    assert session.take_output() == b"+OK 120 octets\r\nA: 1\r\n\r\none\r\ntwo\r\n.\r\n"


def test_a_failed_top_does_not_cut_the_next_message() -> None:
    session = waiting_for(b"TOP 1 0")
    session.answer(ReadFailure.TEMPORARY)
    session.receive(b"RETR 2\r\n")
    session.next_event()
    session.send_text(b"A: 1\r\n\r\nbody\r\n")
    session.answer(b"")
    assert session.take_output().endswith(b"+OK 200 octets\r\nA: 1\r\n\r\nbody\r\n.\r\n")


def test_a_dot_at_the_edge_of_two_pieces_is_stuffed() -> None:
    for cut in range(1, 9):
        session = waiting_for(b"RETR 1")
        text = b"a\r\n.b\r\n.\r\n"
        session.send_text(text[:cut])
        session.send_text(text[cut:])
        session.answer(b"")
        assert session.take_output() == b"+OK 120 octets\r\na\r\n..b\r\n..\r\n.\r\n"


def test_many_replies_to_one_write_do_not_pile_up() -> None:
    server = FakeServer(messages=maildrop_of([b"\r\n"] * 1000)).logged_in()
    session = server.session
    session.receive(b"LIST\r\n" * 1000)
    whole, most = 0, 0
    while (event := session.next_event()) is not None:
        assert event == OutputFull() and not session.paused
        output = session.take_output()
        assert output
        whole, most = whole + len(output), max(most, len(output))
    output = session.take_output()
    one = len(server.feed(b"LIST\r\n"))
    assert whole + len(output) == 1000 * one
    assert max(most, len(output)) < 65536 + one


def test_a_line_without_end_is_not_held() -> None:
    session = POP3Session(SETTINGS)
    for _ in range(100):
        session.receive(b"x" * MAX_LINE + b"x")
        assert session.next_event() is None
        assert not session.pending
    session.receive(b"\r\nQUIT\r\n")
    assert isinstance(session.next_event(), CommandRefused)
    assert session.next_event() is None
    said = b"-ERR the command line is too long\r\n+OK dewey POP3 server signing off\r\n"
    assert session.take_output() == said


@pytest.mark.parametrize(
    ("count", "named"), [(20, b"19, 20 remain)"), (1000, b"19, 20 and 980 more remain)")]
)
def test_a_long_list_of_what_remains_is_cut_short(count: int, named: bytes) -> None:
    server = FakeServer(messages=maildrop_of([b""] * count), undeletable=frozenset(range(count))).logged_in()
    for number in range(1, count + 1):
        server.feed(b"DELE %d\r\n" % number)
    reply = server.feed(b"QUIT\r\n")
    assert reply.startswith(b"-ERR some deleted messages not removed (messages 1, 2, ")
    assert reply.endswith(named + b"\r\n") and len(reply) <= 512
    assert server.removed == () and server.session.closed


def test_the_longest_name_fits_into_the_reply() -> None:
    name = "n" * 248
    server = FakeServer(accounts={name: "x"})
    server.greeting()
    reply = server.feed(b"USER %s\r\nPASS x\r\n" % name.encode()).split(b"\r\n")[1]
    assert reply.startswith(b"+OK nnn") and len(reply) <= 510


@pytest.mark.parametrize("name", ["zo\u00eb", "a\x1b[31m", "a\r\n+OK", "[AUTH]"])
def test_only_a_harmless_name_is_repeated(name: str) -> None:
    assert welcome(ENGLISH, name, 1, 120) == b"+OK maildrop has 1 message (120 octets)\r\n"


def test_zero_limits_are_none() -> None:
    settings = POP3Options("dewey", plaintext_auth=True, max_login_failures=0, max_errors=0)
    server = FakeServer(settings=settings)
    server.greeting()
    assert server.feed(b"x\r\n" * 100).count(b"-ERR unknown") == 100
    assert server.feed(b"USER x\r\nPASS y\r\n" * 100).count(b"-ERR [AUTH]") == 100
    assert not server.session.closed


def test_an_idle_session_costs_little() -> None:
    messages = Snapshot.of(maildrop_of([b""] * 1000))
    count = 200

    def idle() -> POP3Session:
        session = POP3Session(SETTINGS)
        session.greet()
        session.receive(b"USER mrose\r\nPASS secret\r\nSTAT\r\n")
        session.next_event()
        session.answer(MROSE)
        session.next_event()
        session.answer(messages)
        session.next_event()
        session.take_output()
        return session

    idle()
    tracemalloc.start()
    sessions = [idle() for _ in range(count)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sessions) == count
    assert used / count < 1100
