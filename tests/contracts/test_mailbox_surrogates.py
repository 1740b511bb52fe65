"""The sizes of surrogates (RFC 6858), in every mailbox engine."""

import pytest

from mailserver.mail.surrogate import Surrogate
from tests.support.store.messages import ALICE, BOB, CAROL, MESSAGE, Content, as_sent, deliver_to, octets, to

UTF8_HEADER = "Subject: ы\r\n\r\nы\r\n".encode()
UTF8_PART = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; name=\xd1\x8b\r\n\r\n"
    b"x\r\n--b--\r\n"
)


def surrogate_of(data: bytes) -> int | None:
    """The size of the surrogate as sent, if there is one."""
    made = b"".join(Surrogate().pieces([data]))
    return None if made == data else as_sent(made)


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (b"", MESSAGE),
        (b"", b"Subject: x\r\n\r\n\xd1\x8b\r\n"),
        (b"", b"Subject: \xff\r\n\r\nx\r\n"),
        (b"", UTF8_HEADER),
        (b"", UTF8_HEADER.removesuffix(b"\r\n")),
        (b"", UTF8_HEADER + b"x" * 300_000),
        (b"Return-Path: <\xd1\x8b@x.example>\r\n", MESSAGE),
        (b"A: 1\r\n", UTF8_PART),
        (b"", b"Subject: \xd1\x8b"),
    ],
)
def test_the_size_of_a_surrogate(engine, head, data):
    """The octets and the unique-id are the same for all clients; the size is known where it is needed."""
    engine.wait(deliver_to(engine.store, Content(data, 7), to(ALICE, head=head)))
    uids = set()
    for again in (lambda: None, engine.reopen):
        again()
        drop = engine.wait(engine.store.maildrop(ALICE))
        [message] = drop.messages
        assert (message.size, message.surrogate) == (as_sent(head + data), surrogate_of(head + data))
        assert octets(engine.wait(drop.read(0))) == head + data
        uids.add(message.uid)
        drop.release()
    assert len(uids) == 1


def test_the_content_is_looked_through_once_for_all_its_copies(engine):
    """First each copy is written, then one look is enough for all of them."""
    reads = []

    class Counted(Content):
        def chunks(self):
            reads.append(True)
            return super().chunks()

    heads = [*to(ALICE, head=b"A: 1\r\n"), *to(BOB, head=b"A: 2\r\n"), *to(CAROL, head=b"A: 3\r\n")]
    engine.wait(deliver_to(engine.store, Counted(UTF8_HEADER, 7), heads))
    assert len(reads) <= len(heads) + 1
    for mailbox in (ALICE, BOB, CAROL):
        drop = engine.wait(engine.store.maildrop(mailbox))
        [message] = drop.messages
        assert message.surrogate == surrogate_of(b"A: 1\r\n" + UTF8_HEADER)
        drop.release()
