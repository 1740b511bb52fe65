"""The sending session beside its dialogues: what its caller does, its limits, and any octets of a server."""

import itertools
import re
from collections import deque

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.smtp.sender.events import CloseCause, ContentWanted, Fate, MailDone, SessionClosed
from mailserver.smtp.sender.replies import MAX_REPLY, BadReply, ReplyReader, ServerReply
from mailserver.smtp.sender.session import SenderSession
from mailserver.smtp.sender.settings import OutgoingMail, OutgoingRecipient
from mailserver.smtp.sender.states import SenderState, Trigger, next_state
from tests.support.sender import CONTENT, outgoing, sender_settings
from tests.support.smtp import SETTINGS, FakeServer

PIPELINING = b"250-d.example\r\n250 PIPELINING\r\n"
CHUNKING = b"250-d.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
MAIL = outgoing("to=c@d.example,e@d.example")
LARGE = attrs.evolve(MAIL, size=100_000)


def events_of(session: SenderSession) -> list:
    found = []
    while (event := session.next_event()) is not None:
        found.append(event)
    return found


def say(session: SenderSession, text: bytes) -> list:
    session.receive(text)
    return events_of(session)


def ready(ehlo: bytes = PIPELINING, settings: str = "") -> SenderSession:
    """A session that is ready for a message."""
    session = SenderSession(sender_settings(dict(word.split("=") for word in settings.split())))
    say(session, b"220 d.example\r\n" + ehlo)
    session.take_output()
    assert session.idle
    return session


def in_content(ehlo: bytes = PIPELINING, mail: OutgoingMail = MAIL, settings: str = "") -> SenderSession:
    """A session whose caller writes the content."""
    session = ready(ehlo, settings)
    session.send(mail)
    wanted = say(session, b"250 ok\r\n250 ok\r\n250 ok\r\n" + (b"" if b"CHUNKING" in ehlo else b"354 go\r\n"))
    assert wanted == [ContentWanted()]
    session.take_output()
    return session


def fates(event: MailDone) -> list[Fate]:
    return [result.fate for result in event.results]


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


# ---------------------------------------------------------------- replies


@pytest.mark.parametrize(
    ("octets", "status", "text", "shown"),
    [
        (b"550 5.1.1 no such user\r\n", (1, 1), "no such user", "550 5.1.1 no such user"),
        (b"550 no such user\r\n", None, "no such user", "550 no such user"),
        (b"550 4.1.1 other class\r\n", None, "other class", "550 other class"),
        (b"550 5.1.1\r\n", (1, 1), "", "550 5.1.1"),
        (b"550 5.1.1234 x\r\n", None, "5.1.1234 x", "550 5.1.1234 x"),
        (b"550-5.1.1 no\r\n550 5.1.1 user\r\n", (1, 1), "no user", "550 5.1.1 no user"),
        (b"550-no\r\n550 5.7.1 user\r\n", (7, 1), "no user", "550 5.7.1 no user"),
        (b"550\r\n", None, "", "550"),
        (b"250-\r\n250 \r\n", None, "", "250"),
        (b"550 a\x1b[31m\rb\xff\r\n", None, "a?[31m?b\N{REPLACEMENT CHARACTER}", None),
    ],
)
def test_replies(octets: bytes, status: tuple[int, int] | None, text: str, shown: str | None) -> None:
    reader = ReplyReader()
    reader.feed(octets)
    reply = reader.next_reply()
    assert reply is not None
    assert (reply.status and (reply.status.subject, reply.status.detail)) == status
    assert reply.text == text
    if shown is not None:
        assert str(reply) == shown
    assert str(reply).isprintable()


@pytest.mark.parametrize("size", [1, MAX_REPLY])
@pytest.mark.parametrize(("octets", "good"), [(MAX_REPLY, True), (MAX_REPLY + 1, False)])
def test_the_longest_reply(octets: int, good: bool, size: int) -> None:
    reply = b"250-x\r\n" * 1000
    reply += b"250 " + b"y" * (octets - len(reply) - 6) + b"\r\n"
    assert len(reply) == octets
    found = replies_in(reply, [size] * octets)
    assert len(found) == 1
    assert (found == ["bad"]) is not good


def replies_in(octets: bytes, sizes: list[int]) -> list:
    """All replies, and whether the stream ended in a bad one."""
    reader, found, rest = ReplyReader(), [], octets
    pieces = deque(sizes)
    while rest:
        size = pieces.popleft() if pieces else len(rest)
        reader.feed(rest[:size])
        rest = rest[size:]
        try:
            while (reply := reader.next_reply()) is not None:
                found.append(reply)
        except BadReply:
            return [*found, "bad"]
        assert len(reader) <= MAX_REPLY
    return found


lines = st.sampled_from(
    [b"250 ok\r\n", b"250-ok\r\n", b"550 5.1.1 no\n", b"354\r\n", b"421\tbye\r\n", b"\r\n", b"25", b"-",
     b"0", b"x" * 5000, b"250-" + b"y" * 3000 + b"\r\n", b"\n", b"\r", b" "]
)  # fmt: skip
streams = st.lists(st.one_of(lines, st.binary(max_size=5)), max_size=25).map(b"".join)
sizes = st.lists(st.integers(1, 4000), max_size=40)


@given(streams, sizes)
def test_any_octets_are_the_same_replies_in_any_pieces(octets: bytes, pieces: list[int]) -> None:
    found = replies_in(octets, pieces)
    assert found == replies_in(octets, [])
    for reply in found:
        if reply != "bad":
            assert 200 <= reply.code <= 599
            assert reply.lines
            assert str(reply).isprintable()


@given(st.sampled_from([b"", PIPELINING, CHUNKING]), st.booleans(), streams, sizes)
def test_any_octets_of_a_server_end_in_one_result(
    ehlo: bytes, lmtp: bool, octets: bytes, pieces: list[int]
) -> None:
    """No exception, one MailDone for each message, at most one SessionClosed, whatever a server sends."""
    session = SenderSession(sender_settings({"protocol": "lmtp"} if lmtp else {}))
    octets = (b"220 d\r\n" + ehlo if ehlo else b"") + octets
    begun, seen = 0, []
    places = deque(pieces)
    while octets:
        size = places.popleft() if places else len(octets)
        session.receive(octets[:size])
        octets = octets[size:]
        while (event := session.next_event()) is not None:
            seen.append(event)
            if event == ContentWanted():
                session.write(CONTENT)
                session.end()
            if session.idle and begun < 3:
                session.send(MAIL)
                begun += 1
            session.take_output()
    session.connection_lost()
    seen += events_of(session)
    assert sum(isinstance(event, MailDone) for event in seen) == begun
    assert [event for event in seen if isinstance(event, SessionClosed)] == seen[-1:]
    for event in seen:
        if isinstance(event, MailDone):
            assert len(event.results) == len(MAIL.recipients)


# ---------------------------------------------------------------- read back by our own receiver

octets = st.lists(
    st.sampled_from([b"\r\n", b".", b"\n", b"\r", b"x", b"\r\n.\r\n", b"MAIL FROM:<x@y>\r\n", b"\xff", b"\0"])
).map(b"".join)
cuts = st.lists(st.integers(0, 60), max_size=6)


def pieces_of(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, *(cut for cut in cuts if cut < len(content)), len(content)})
    return [content[start:end] for start, end in itertools.pairwise(places)]


def normalized(content: bytes) -> bytes:
    """What must arrive: the rule of ``wire.newlines`` in other words, line by line."""
    content = re.sub(rb"\r{1,16}\n", b"\n", content).replace(b"\r", b" ").replace(b"\n", b"\r\n")
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def send_to_our_receiver(pieces: list[bytes]) -> list[bytes]:
    server = FakeServer(SETTINGS)  # it rejects bare CRs and LFs
    session = SenderSession(sender_settings({}))
    session.receive(server.greeting())
    sent = False
    while not session.closed:
        for event in events_of(session):
            if event == ContentWanted():
                for piece in pieces:
                    session.write(piece)
                session.end()
        if session.idle and sent:
            session.quit()
        elif session.idle:
            session.send(outgoing("to=alice@example.org"))
            sent = True
        session.receive(server.feed(session.take_output()))
    return [kept.content for kept in server.kept]


@given(octets, cuts)
def test_our_receiver_reads_back_what_the_session_sends(content: bytes, cuts: list[int]) -> None:
    assert send_to_our_receiver(pieces_of(content, cuts)) == [normalized(content)]


@given(st.lists(st.sampled_from([b"\r\n", b".", b"x", b"\r\n.\r\n", b"\xff"])).map(b"".join), cuts)
def test_a_proper_message_arrives_octet_for_octet(content: bytes, cuts: list[int]) -> None:
    content += b"\r\n"
    assert send_to_our_receiver(pieces_of(content, cuts)) == [content]


@pytest.mark.parametrize("size", [16384, 65536])
@pytest.mark.parametrize("offset", range(-4, 3))
def test_a_dot_at_every_edge_of_large_chunks(size: int, offset: int) -> None:
    content = b"x" * (size + offset) + b"\r\n.\r\n" + b"y" * size + b"\r\n"
    assert send_to_our_receiver([content[:size], content[size:]]) == [content]


@given(octets, cuts)
def test_chunks_have_the_sizes_that_they_tell(content: bytes, cuts: list[int]) -> None:
    session = in_content(CHUNKING, LARGE)
    for piece in pieces_of(content, cuts):
        session.write(piece)
    session.end()
    sent = session.take_output()
    command, _, rest = sent.partition(b"\r\n")
    assert command == b"BDAT %d LAST" % len(rest)
    whole = normalized(content)
    assert rest in (whole, whole[:-2])
