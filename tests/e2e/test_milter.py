"""The server with a filter that answers by a script, on a unix socket."""

import signal
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.e2e.limited import SmtpFrom
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, Server, configuration, wait_until
from tests.support.milter import CONTINUE, ScriptedFilter, answer, indexed, options

STRANGER = "127.0.0.5"
MESSAGE = b"Subject: one\r\n\r\nbody\r\n"
LARGE = b"Subject: one\r\n\r\n" + b"".join(b"%070d\r\n" % number for number in range(200_000))


def settings(*destinations: str, more: str = "") -> str:
    names = ", ".join(f'"{one}"' for one in destinations)
    return configuration(
        tables='[relay]\nnetworks = []\n[policy]\nexempt = ["127.0.0.9"]\n'
        f'milter = [{names}]\nmilter_timeout = "2s"\n{more}\n'
    )


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[ScriptedFilter]:
    filter = ScriptedFilter(tmp_path / "filter.sock")
    yield filter
    filter.close()


@pytest.fixture
def server(make_server: Makes, scripted: ScriptedFilter) -> Server:
    return make_server(settings(f"unix:{scripted.path}")).start()


def replies(server: Server, message: bytes = MESSAGE, source: str = STRANGER) -> list[bytes]:
    """The replies to MAIL, RCPT and the message, up to the first that is no success."""
    found = []
    with SmtpFrom(server.smtp, source) as session:
        session.expect(b"EHLO client.example", b"250")
        for command in (b"MAIL FROM:<s@far.example>", b"RCPT TO:<alice@example.org>", b"DATA"):
            found.append(session.ask(command))
            if found[-1][:1] not in b"23":
                return found
        session.send(message + b".\r\n")
        found.append(session.reply())
        session.expect(b"QUIT", b"221")
    return found


STEPS = {b"C": 1, b"H": 1, b"M": 1, b"R": 2, b"T": 4, b"L": 4, b"N": 4, b"B": 4, b"E": 4}


def test_every_step(server: Server, scripted: ScriptedFilter) -> None:
    for step, number in STEPS.items():
        for reply, expected in (
            (answer(b"r"), b"550 5.7.1 rejected by a mail filter"),
            (answer(b"t"), b"451 4.7.1 deferred by a mail filter"),
            (answer(b"y", b"554 5.6.0 own words\0"), b"554 5.6.0 own words"),
            (answer(b"4"), b"451 4.7.1 a mail filter ends the session"),
            (answer(b"p") + answer(b"r"), b"550 5.7.1 rejected by a mail filter"),
            (answer(b"z"), b"451 4.3.0 a mail filter is not available now"),
            (b"\xff\xff\xff\xff", b"451 4.3.0 a mail filter is not available now"),
            (None, b"451 4.3.0 a mail filter is not available now"),
        ):
            scripted.script = {step: reply}
            found = replies(server)
            if number == 1:
                expected = expected.replace(b"550 5.7.1", b"553 5.7.1")
            assert len(found) == number and found[-1].startswith(expected), (step, reply, found)
        scripted.script = {step: answer(b"a")}
        assert replies(server)[-1].startswith(b"250 2.0.0 Ok: queued as ")
    wait_until(lambda: scripted.commands.count(b"Q"), "the end of a session")
    assert len(Mailbox(server, "alice").messages()) == len(STEPS)


def test_drop(server: Server, scripted: ScriptedFilter) -> None:
    for step in (b"M", b"R", b"B", b"E"):
        scripted.script = {step: answer(b"d")}
        assert replies(server)[-1].startswith(b"250 2.0.0 Ok: queued as ")
    assert not Mailbox(server, "alice").messages()
    assert server.log.count("MessageDiscarded") == 4


def test_a_large_message_with_another_header(server: Server, scripted: ScriptedFilter) -> None:
    changes = indexed(b"m", 1, b"Subject", b"two") + indexed(b"i", 0, b"X", b"1")
    scripted.script = {b"O": options(steps=0x80 | 0x80000), b"E": changes + CONTINUE}
    scripted.script |= {b"L": b"", b"B": b""}
    assert replies(server, LARGE)[-1].startswith(b"250 ")
    sent = b"".join(data for command, data in scripted.seen if command == b"B")
    assert sent == LARGE.partition(b"\r\n\r\n")[2]
    (message,) = Mailbox(server, "alice").messages()
    head, _, body = message.partition(b"\r\n\r\n")
    assert body == sent and head.endswith(b"\r\nSubject: two") and b"\r\nX: 1\r\n" in head


@pytest.mark.parametrize(
    ("default", "expected"), [("accept", b"250 2.0.0"), ("defer", b"451 4.3.0"), ("reject", b"553 5.7.1")]
)
def test_a_filter_that_does_not_answer(
    make_server: Makes, scripted: ScriptedFilter, tmp_path: Path, default: str, expected: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        text = settings(
            f"unix:{tmp_path / 'silent'}", f"unix:{scripted.path}", more=f'milter_default = "{default}"'
        ).replace('"2s"', '"1s"')
        server = make_server(text).start()
        assert replies(server)[-1].startswith(expected)
    # The other filter is asked nevertheless.
    assert scripted.commands.startswith(b"OCHMRTLNBE" if default == "accept" else b"")
    event = server.logged("FilterUnusable")[0]
    assert "no answer to the negotiation: no answer within 1 seconds" in event
    assert event.endswith(f"({default}, policy.milter[1])")


def test_nobody_listens_until_a_reload(make_server: Makes, scripted: ScriptedFilter, tmp_path: Path) -> None:
    server = make_server(settings(f"unix:{tmp_path / 'nothing'}")).start()
    assert replies(server)[-1].startswith(b"451 4.3.0 a mail filter is not available now")
    server.logged(f"no connection to unix:{tmp_path / 'nothing'}: no such file or directory")
    server.configure(settings(f"unix:{scripted.path}"))
    server.signal(signal.SIGHUP)
    wait_until(lambda: replies(server)[-1].startswith(b"250 "), "the new filter")
    assert b"E" in scripted.commands


def test_messages_of_a_session_share_a_connection(server: Server, scripted: ScriptedFilter) -> None:
    with smtplib.SMTP(*server.smtp) as session:
        for _ in range(3):
            session.sendmail("s@far.example", ["alice@example.org"], MESSAGE)
    wait_until(lambda: scripted.commands.endswith(b"Q"), "the end of the session")
    assert scripted.connections == 1
    assert scripted.commands == b"OCH" + b"MRTLNBE" * 3 + b"Q"


def test_a_client_that_does_not_stay(server: Server, scripted: ScriptedFilter) -> None:
    with SmtpFrom(server.smtp, STRANGER) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<s@far.example>", b"250")
    wait_until(lambda: scripted.commands.endswith(b"Q"), "the end of the session")
    assert scripted.commands == b"OCHMQ"


def test_an_exempt_client(server: Server, scripted: ScriptedFilter) -> None:
    assert replies(server, source="127.0.0.9")[-1].startswith(b"250 ")
    assert not scripted.connections


def test_tcp(make_server: Makes) -> None:
    seen: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = make_server(settings(f"localhost:{listening.getsockname()[1]}")).start()
        with SmtpFrom(server.smtp, STRANGER) as session:
            session.expect(b"EHLO client.example", b"250")
            session.send(b"MAIL FROM:<s@far.example>\r\n")
            connection, _ = listening.accept()
            with connection:
                seen.append(connection.recv(17))
                connection.sendall(options(actions=0, steps=0x7F))
                assert session.reply().startswith(b"250 ")
    assert seen[0][4:5] == b"O"
