"""The sending session beside its dialogues: what its caller does, its limits, and any octets of a server."""

import attrs
import pytest

from mailserver.smtp.sender.events import CloseCause, ContentWanted, Fate, SessionClosed
from mailserver.smtp.sender.replies import ServerReply
from mailserver.smtp.sender.session import SenderSession
from mailserver.smtp.sender.settings import OutgoingMail, OutgoingRecipient
from mailserver.smtp.sender.states import SenderState, Trigger, next_state
from tests.support.sender import CONTENT, outgoing, sender_settings
from tests.support.sending_sessions import (
    CHUNKING,
    LARGE,
    MAIL,
    PIPELINING,
    events_of,
    fates,
    in_content,
    ready,
    say,
)

# ---------------------------------------------------------------- abandoned, and decided while it is written


def test_a_message_that_is_abandoned_after_data_ends_the_session() -> None:
    session = in_content()
    session.write(b"half")
    session.abandon()
    done, closed = events_of(session)
    assert fates(done) == [Fate.UNTRIED] * 2
    assert closed.cause is CloseCause.ABANDONED
    assert session.take_output() == b"", "no dot, and no more content"


def test_a_message_that_is_abandoned_between_chunks_leaves_the_session() -> None:
    session = in_content(CHUNKING, LARGE)
    session.write(b"x" * 65536)
    session.write(b"x")
    assert session.take_output() == b"BDAT 65536\r\n" + b"x" * 65536
    session.abandon()
    assert events_of(session) == []
    [done] = say(session, b"250 ok\r\n")
    assert fates(done) == [Fate.UNTRIED] * 2
    session.send(MAIL)
    assert session.take_output().startswith(b"RSET\r\nMAIL FROM:<a@b.example>\r\n")


def test_a_message_that_is_abandoned_before_its_first_chunk() -> None:
    session = in_content(CHUNKING, LARGE)
    session.abandon()
    [done] = events_of(session)
    assert fates(done) == [Fate.UNTRIED] * 2
    assert session.idle


@pytest.mark.parametrize("ehlo", [PIPELINING, CHUNKING])
def test_a_message_that_is_abandoned_after_its_end_may_have_been_accepted(ehlo: bytes) -> None:
    session = in_content(ehlo, LARGE)
    session.write(b"all")
    session.end()
    session.abandon()
    done, _ = events_of(session)
    assert fates(done) == [Fate.UNCERTAIN] * 2


@pytest.mark.parametrize("ehlo", [b"250 d.example\r\n", PIPELINING, CHUNKING])
def test_a_message_that_is_abandoned_in_the_envelope(ehlo: bytes) -> None:
    session = ready(ehlo)
    session.send(LARGE)
    session.abandon()
    done, closed = events_of(session)
    assert fates(done) == [Fate.UNTRIED] * 2
    assert closed.cause is CloseCause.ABANDONED


def test_nothing_to_abandon() -> None:
    session = ready()
    session.abandon()
    assert events_of(session) == []
    assert session.idle


@pytest.mark.parametrize(
    ("reply", "fate"), [(b"552 5.3.4 too big\r\n", Fate.REJECTED), (b"452 4.3.1 full\r\n", Fate.DEFERRED)]
)
def test_a_rejection_in_the_middle_of_data_ends_the_session(reply: bytes, fate: Fate) -> None:
    session = in_content()
    session.write(b"half")
    done, closed = say(session, reply)
    assert fates(done) == [fate] * 2
    assert closed.cause is CloseCause.REFUSED
    session.write(b"the other half")
    session.end()
    assert b"other" not in session.take_output()


def test_acceptance_in_the_middle_of_data_is_none() -> None:
    session = in_content()
    session.write(b"half")
    done, closed = say(session, b"250 ok\r\n")
    assert fates(done) == [Fate.UNTRIED] * 2
    assert closed.cause is CloseCause.PROTOCOL


def test_421_in_the_middle_of_data() -> None:
    session = in_content()
    done, closed = say(session, b"421 shutting down\r\n")
    assert fates(done) == [Fate.UNTRIED] * 2
    assert closed.cause is CloseCause.REFUSED


def test_a_failed_chunk_stops_the_content() -> None:
    session = in_content(CHUNKING, LARGE)
    session.write(b"x" * 65536)
    session.write(b"x" * 65536)
    session.write(b"x")
    assert say(session, b"452 4.3.1 full\r\n") == []
    session.take_output()
    session.write(b"more")
    session.end()
    assert session.take_output() == b""
    [done] = say(session, b"503 5.5.1 failed before\r\n")
    assert fates(done) == [Fate.DEFERRED] * 2
    assert [result.status.detail for result in done.results] == [1, 1]
    assert session.idle


def test_a_failed_chunk_of_lmtp_ends_a_session_whose_replies_cannot_be_counted() -> None:
    session = in_content(CHUNKING, LARGE, "protocol=lmtp")
    session.write(b"x" * 65536)
    session.write(b"x")
    session.end()
    done, closed = say(session, b"452 4.3.1 full\r\n")
    assert fates(done) == [Fate.DEFERRED] * 2
    assert closed.cause is CloseCause.REFUSED


def test_a_reply_too_many_is_not_taken_for_that_to_a_chunk() -> None:
    session = ready(CHUNKING)
    session.send(MAIL)
    [done, closed] = say(session, b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n")
    assert fates(done) == [Fate.UNTRIED] * 2
    assert (closed.cause, b"BDAT" in session.take_output()) == (CloseCause.PROTOCOL, False)


def test_chunks_wait_for_the_recipients() -> None:
    session = ready(CHUNKING)
    session.send(MAIL)
    assert say(session, b"250 ok\r\n550 no\r\n") == []
    assert say(session, b"250 ok\r\n") == [ContentWanted()]


# ---------------------------------------------------------------- calls of the caller


def test_a_small_message_is_two_writes() -> None:
    session = ready()
    session.send(MAIL)
    assert session.take_output().endswith(b"DATA\r\n")
    say(session, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    session.write(CONTENT)
    session.end()
    assert session.take_output() == CONTENT + b".\r\n"
    say(session, b"250 ok\r\n")
    assert session.idle


def test_a_small_message_in_a_chunk_is_two_writes() -> None:
    session = ready(CHUNKING)
    session.send(MAIL)
    assert session.take_output().endswith(b"RCPT TO:<e@d.example>\r\n")
    assert say(session, b"250 ok\r\n250 ok\r\n250 ok\r\n") == [ContentWanted()]
    session.write(CONTENT)
    session.end()
    assert session.take_output() == b"BDAT 21 LAST\r\n" + CONTENT


def test_calls_at_the_wrong_time() -> None:
    session = SenderSession(sender_settings({}))
    for call in (lambda: session.send(MAIL), lambda: session.write(b"x"), session.end, session.quit):
        with pytest.raises(RuntimeError):
            call()
    session = ready()
    with pytest.raises(RuntimeError):
        session.tls_started()
    session.send(MAIL)
    for call in (lambda: session.send(MAIL), lambda: session.write(b"x"), session.end, session.quit):
        with pytest.raises(RuntimeError):
            call()


def test_a_closed_session_ignores_calls() -> None:
    session = ready()
    session.connection_lost()
    assert [type(event) for event in events_of(session)] == [SessionClosed]
    session.connection_lost()
    session.receive(b"250 ok\r\n")
    session.tls_started()
    session.write(b"x")
    session.end()
    session.abandon()
    session.quit()
    assert events_of(session) == []
    assert session.take_output() == b""
    assert not session.idle
    assert (session.timeout, session.awaits) == (None, "")


def test_a_closed_session_keeps_no_input() -> None:
    session = ready()
    session.receive(b"421 idle too long\r\n250 half")
    assert [type(event) for event in events_of(session)] == [SessionClosed]
    session.receive(b"x" * 100_000)
    assert len(session._reader) == 0


def test_the_end_of_messages_by_mailmax() -> None:
    session = ready(b"250-d.example\r\n250 LIMITS MAILMAX=2\r\n")
    for left in (True, False):
        session.send(MAIL)
        say(session, b"550 no\r\n")
        assert session.idle is left
    session.quit()
    assert session.take_output().endswith(b"QUIT\r\n")


def test_timeouts() -> None:
    """RFC 5321 section 4.5.3.2."""
    session = SenderSession(sender_settings({}))
    assert (session.timeout, session.awaits) == (300, "the greeting")
    say(session, b"220 d.example\r\n")
    assert (session.timeout, session.awaits) == (300, "the reply to EHLO")
    say(session, b"250 d.example\r\n")
    assert (session.timeout, session.awaits) == (None, "")
    seen = []
    session.send(MAIL)
    for reply in (b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 ok\r\n"):
        seen.append(session.timeout)
        say(session, reply)
    seen.append(session.timeout)
    assert session.awaits == "the server to read the content"
    session.end()
    assert session.awaits == "the reply to the end of the content"
    seen.append(session.timeout)
    assert seen == [300, 300, 300, 120, 180, 600]
    assert session.replies == 6
    say(session, b"250 ok\r\n")
    session.quit()
    assert session.timeout == 30


def test_a_timeout_names_its_reason() -> None:
    session = ready()
    session.send(MAIL)
    session.connection_lost("no reply within 300 s")
    done, closed = events_of(session)
    assert done.results[0].text == closed.text == "no reply within 300 s"


# ---------------------------------------------------------------- unsolicited replies


@pytest.mark.parametrize(
    ("reply", "cause"), [(b"421 idle too long\r\n", CloseCause.REFUSED), (b"250 ok\r\n", CloseCause.PROTOCOL)]
)
def test_a_reply_to_nothing_ends_an_idle_session(reply: bytes, cause: CloseCause) -> None:
    session = ready()
    [closed] = say(session, reply)
    assert closed.cause is cause
    assert closed.reply is not None


def test_octets_of_before_tls_that_come_late() -> None:
    session = SenderSession(sender_settings({}))
    say(session, b"220 d.example\r\n250-d.example\r\n250 STARTTLS\r\n220 go\r\n")
    assert (session.timeout, session.awaits) == (60, "the TLS handshake")
    [closed] = say(session, b"2")
    assert closed.cause is CloseCause.PROTOCOL


# ---------------------------------------------------------------- secrets and injection


@pytest.mark.parametrize("echo", ["AGFsaWNlAHNlY3JldA==", "AGFsaWNlAHNlY3Jl...", "password secret of alice"])
def test_a_server_that_repeats_the_secret(echo: str) -> None:
    session = SenderSession(sender_settings({"user": "alice", "password": "secret", "implicit": "yes"}))
    session.tls_started()
    say(session, b"220 d.example\r\n250-d.example\r\n250 AUTH PLAIN\r\n")
    [closed] = say(session, f"535 5.7.8 wrong: {echo}\r\n".encode())
    assert closed.cause is CloseCause.NO_LOGIN
    for secret in ("secret", "AGFsaWNl"):
        assert secret not in f"{closed} {session._settings}"
    assert closed.reply == ServerReply(535, ("(text withheld, it repeats the login)",))


def test_the_reason_of_a_failed_login_is_kept() -> None:
    session = SenderSession(sender_settings({"user": "alice", "password": "secret", "plaintext": "yes"}))
    [closed] = say(session, b"220 d.example\r\n250-d.example\r\n250 AUTH LOGIN\r\n535 5.7.8 LOGIN failed\r\n")
    assert closed.text == "the login has failed: LOGIN: 535 5.7.8 LOGIN failed"


def test_a_long_list_of_mechanisms() -> None:
    session = SenderSession(sender_settings({"user": "alice", "password": "secret"}))
    [closed] = say(
        session, b"220 d.example\r\n250-d.example\r\n250 AUTH " + b"X " * 5000 + b"Y" * 5000 + b"\r\n"
    )
    assert closed.cause is CloseCause.NO_LOGIN
    assert len(closed.text) < 400


@pytest.mark.parametrize("text", ["a@b\r\nRSET", "a@b\nx", "a\0@b", "a@b\x7f", "a\udcff@b"])
def test_values_that_are_more_than_a_line_are_rejected(text: str) -> None:
    with pytest.raises(ValueError):
        OutgoingRecipient(text)
    with pytest.raises(ValueError):
        OutgoingMail(reverse_path=text, recipients=(), size=0)
    with pytest.raises(ValueError):
        OutgoingRecipient("a@b", notify=text)


def test_parameters_are_words() -> None:
    with pytest.raises(ValueError):
        outgoing("ret=HDRS\xff")
    with pytest.raises(ValueError):
        attrs.evolve(MAIL, envid="a SIZE=1")


# ---------------------------------------------------------------- the table


def test_every_transition_of_the_table_happens_or_is_an_error() -> None:
    for state in SenderState:
        assert next_state(state, Trigger.CLOSED) is SenderState.CLOSED
        for trigger in set(Trigger) - {Trigger.CLOSED}:
            try:
                assert next_state(state, trigger) is not SenderState.CLOSED
            except RuntimeError as error:
                assert state.value in str(error)
