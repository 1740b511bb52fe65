"""What the caller of a joint sees between the steps of a rule."""

import attrs

from mailserver.faults.acts import Pause
from mailserver.faults.moments import POP3, SMTP
from mailserver.pop3.events import MessageWanted
from mailserver.session.events import TLSWanted
from mailserver.smtp.events import RolesReversed, SenderOffered
from mailserver.smtp.replies import TOO_MANY_ERRORS
from tests.support import pop3, smtp
from tests.support.scripted import ScriptedServer

MAIL = b"MAIL FROM:<a@b.example>\r\n"


def delayed(act_at: str) -> ScriptedServer:
    made = ScriptedServer(smtp.FakeServer(), SMTP)
    made.feed(b"HELO c\r\n")
    made.add(lambda on: on(act_at).delay(1))
    return made


def test_no_request_is_open_while_a_rule_acts() -> None:
    joint = delayed("MAIL").joint
    joint.receive(MAIL + b"NOOP\r\n")
    assert joint.next_event() == Pause(1)
    assert (joint.awaited, joint.paused, joint.pending, joint.closed) == (None, False, True, False)
    event = joint.next_event()
    assert isinstance(event, SenderOffered) and joint.awaited is event and joint.paused


def test_no_request_is_open_while_a_rule_acts_on_it() -> None:
    made = delayed("dot")
    made.feed(MAIL + b"RCPT TO:<bob@example.org>\r\n")
    made.joint.receive(b"BDAT 0 LAST\r\n")
    while not isinstance(event := made.joint.next_event(), Pause):
        made.server.handle(event)
    assert made.joint.awaited is None
    made.feed(b"")
    assert made.said.endswith("queued as 1\n")


def test_a_client_that_is_disconnected_while_a_rule_acts() -> None:
    joint = delayed("MAIL").joint
    joint.receive(MAIL)
    joint.next_event()
    joint.disconnect(TOO_MANY_ERRORS)
    assert joint.closed and joint.next_event() is None
    assert joint.take_output() == TOO_MANY_ERRORS.octets


def test_nothing_is_said_after_a_half_close() -> None:
    made = ScriptedServer(smtp.FakeServer(), SMTP, lambda on: on("NOOP").half_close())
    made.feed(b"NOOP\r\n")
    made.joint.disconnect(TOO_MANY_ERRORS)
    assert made.joint.take_output() == b"" and not made.joint.closed
    assert made.joint._transcript.entries[-1].text == "connection half-closed by a rule"


def test_a_long_reply_is_passed_on_in_pieces() -> None:
    server = pop3.FakeServer(pop3.maildrop_of([pop3.message_of(100)]))
    made = ScriptedServer(server, POP3)
    made.feed(b"USER mrose\r\nPASS secret\r\n")
    made.joint.receive(b"RETR 1\r\n")
    assert made.joint.next_event() == MessageWanted(0, None)
    made.joint.send_text(b"Subject: x\r\n")
    assert made.joint.take_output() == b"+OK 100 octets\r\nSubject: x\r\n"


def test_the_account_that_has_logged_in_is_not_one_of_another_domain() -> None:
    made = ScriptedServer(smtp.FakeServer(attrs.evolve(smtp.SETTINGS, mechanisms=("PLAIN",))), SMTP)
    made.joint.secured(smtp.TLS)
    made.add(lambda on: on("NOOP").close().for_("alice@other.example"))
    made.feed(b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nNOOP\r\n")
    assert made.said.endswith("successful\n250 2.0.0 Ok\n")


def test_tls_begins_anew() -> None:
    server = pop3.FakeServer(settings=attrs.evolve(pop3.SETTINGS, starttls=True))
    made = ScriptedServer(server, POP3, lambda on: on("NOOP").close().for_("mrose"))
    made.feed(b"USER mrose\r\n")
    made.joint.receive(b"STLS\r\nNOOP\r\n")
    event = made.joint.next_event()
    assert event == TLSWanted(discarded=6) and made.joint.take_output().startswith(b"+OK")
    made.joint.receive(b"NOOP\r\n")
    made.joint.secured(pop3.TLS)
    assert made.joint.next_event() is None
    made.feed(b"NOOP\r\n")
    assert made.said.count("NOOP is only allowed") == 1


def test_a_reversed_session_gets_its_reply_and_the_rest_of_the_input() -> None:
    settings = attrs.evolve(smtp.SETTINGS, mechanisms=("PLAIN",), plaintext_auth=True, fetches=True)
    made = ScriptedServer(smtp.FakeServer(settings), SMTP)
    made.feed(b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n")
    made.joint.receive(b"ATRN example.org\r\n220 ready\r\n")
    while not isinstance(event := made.joint.next_event(), RolesReversed):
        made.server.handle(event)
    assert made.joint.take_output().startswith(b"250 ")
    assert made.joint.take_rest() == b"220 ready\r\n" and made.joint.take_rest() == b""
