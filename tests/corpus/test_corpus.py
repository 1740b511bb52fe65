"""Messages, real and hostile, go in by SMTP and come out by POP3 with the same octets.

All messages of a source take one session each way, over sockets: RETR must give back what was sent, behind
the trace fields, and TOP with no lines the header of that. What has a CR or an LF alone must be refused.
"""

import re
from collections.abc import Iterator, Mapping

import pytest

from mailserver.mail.surrogate import Surrogate
from tests.support.corpus import sources
from tests.support.corpus.generated import generated, malformed
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import missing
from tests.support.e2e.server import Server, configuration

BOXES = ("generated", "malformed", "cpython", "folder", "after")
TRACE = re.compile(
    rb"Return-Path: <sender@client\.example>\r\nDelivered-To: \w+@example\.org\r\n"
    rb"Received: from client\.example [^\r\n]*\r\n(?:\t[^\r\n]*\r\n)+"
)
RETURN_PATH = re.compile(rb"(?im)^return-path[ \t]*:.*\n(?:[ \t].*\n)*")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("corpus"), configuration(accounts=BOXES, tables=""))
    try:
        yield server.start()
    finally:
        server.finish()


def on_the_wire(text: bytes) -> bytes:
    """Byte-stuffed and ended (RFC 5321 section 4.5.2), by other means than the server's."""
    lines = text.split(b"\r\n")[:-1]
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def send(session: Smtp, box: Mailbox, text: bytes) -> bytes:
    """One transaction: the answer to the message, whose last line must be ended."""
    to = box.address.encode()
    session.send(b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (SENDER.encode(), to))
    assert [session.reply()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
    session.send(on_the_wire(text))
    return session.reply()


def ended(text: bytes) -> bytes:
    """With the line end that a message gets for its last line."""
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"


def delivered(text: bytes) -> bytes:
    """What final delivery makes of it: no Return-Path, and a blank line before a text without a header."""
    if not re.match(rb"[!-9;-~]+[ \t]*:|\r\n|\Z", text):
        return b"\r\n" + text
    header, empty, body = text.partition(b"\r\n\r\n")
    return RETURN_PATH.sub(b"", header + b"\r\n").removesuffix(b"\r\n") + empty + body if empty else text


def deliver(box: Mailbox, messages: Mapping[str, bytes]) -> dict[str, bytes]:
    """Send all in one session; those that were taken, which must be the well-formed ones."""
    taken = {}
    with Smtp(box.server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        for name, octets in messages.items():
            text = ended(octets)
            good = text.count(b"\r") == text.count(b"\n") == text.count(b"\r\n")
            reply = send(session, box, text)
            assert reply.startswith(b"250 2.0.0 Ok: queued as " if good else b"550 5.6.0 "), (name, reply)
            if good:
                taken[name] = delivered(text)
    return taken


def check(box: Mailbox, sent: Mapping[str, bytes]) -> None:
    """Read all in one session and compare; then once more without UTF8, which shows surrogates (RFC 6858)."""
    with box.login() as session:
        session.expect(b"UTF8", b"+OK")
        compare(session, sent)
    with box.login() as session:
        compare(session, {name: b"".join(Surrogate().pieces([text])) for name, text in sent.items()})


def compare(session: Pop3, shown: Mapping[str, bytes]) -> None:
    sizes = [int(line.split(b" ")[1]) for line in session.multi(b"LIST").splitlines()]
    assert len(sizes) == len(shown)
    for number, (name, text) in enumerate(shown.items(), 1):
        stored = session.multi(b"RETR %d" % number)
        assert len(stored) == sizes[number - 1], name
        assert stored.endswith(text), f"{name}: {first_difference(stored, text)}"
        assert TRACE.fullmatch(stored[: len(stored) - len(text)]), (name, stored[:400])
        top = session.multi(b"TOP %d 0" % number)
        header, empty, _ = stored.partition(b"\r\n\r\n")
        assert top == header + empty, f"{name}: {first_difference(top, header + empty)}"
    session.expect(b"QUIT", b"+OK")


def first_difference(stored: bytes, text: bytes) -> str:
    """Where they part, seen from their ends, since the trace fields stand in front."""
    same = 0
    while same < min(len(stored), len(text)) and stored[-1 - same] == text[-1 - same]:
        same += 1
    here = [octets[max(len(octets) - same - 40, 0) :][:80] for octets in (stored, text)]
    return f"{same} octets before the end {here[0]!r} is not {here[1]!r}"


def converse(server: Server, name: str, messages: Mapping[str, bytes]) -> dict[str, bytes]:
    box = Mailbox(server, name)
    taken = deliver(box, messages)
    check(box, taken)
    return taken


def test_generated_messages(server: Server) -> None:
    messages = generated()
    assert converse(server, "generated", messages).keys() == messages.keys()


def test_malformed_messages_are_refused_and_the_session_goes_on(server: Server) -> None:
    assert converse(server, "malformed", malformed()) == {}
    assert len(converse(server, "after", {**malformed(), "good": b"Subject: good\r\n\r\n"})) == 1


def test_messages_of_cpython(server: Server) -> None:
    found = sources.cpython()
    if not found:
        missing(sources.NO_CPYTHON)
    assert len(found) + len(generated()) >= 100
    converse(server, "cpython", {name: sources.as_sent(octets) for name, octets in found.items()})


def test_messages_of_a_folder(server: Server) -> None:
    found = sources.folder()
    if not found:
        missing(sources.NO_FOLDER)
    converse(server, "folder", {name: sources.as_sent(octets) for name, octets in found.items()})


def test_files_become_what_a_client_sends() -> None:
    assert sources.as_sent(b"a\nb\r\n\n\r\nc\rd\n") == b"a\r\nb\r\n\r\n\r\nc\rd\r\n"
    assert generated() == generated()
