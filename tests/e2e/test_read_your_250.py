"""Read your 250: whoever has read the answer to the final dot finds the message by POP3 at once.

Many clients at a time, each with mailboxes of its own, for a mailbox has one session at a time. They
have everything ready, so that PASS follows the 250 as fast as that can be.
``READ_YOUR_250=2000 pytest tests/e2e/test_read_your_250.py`` is the long form: so many messages.
"""

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

from tests.support.corpus.messages import message, original
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, Server, configuration

CLIENTS = 20
TIMES = int(os.environ.get("READ_YOUR_250", "200"))
SIZES = (0, 40, 3_000, 20_000, 300_000)  # octets of a body, the largest seldom
KEPT = 6  # messages; a mailbox with more is emptied


class Client:
    """Sends a message, reads its 250, and looks into the mailboxes it was for."""

    def __init__(self, server: Server, number: int) -> None:
        self.name = f"client{number}"
        self.dice = random.Random(self.name)
        self.server = server
        self.boxes = [Mailbox(server, name) for name in mailboxes(number)]
        self.expected: dict[str, list[bytes]] = {box.name: [] for box in self.boxes}
        self.missing: list[str] = []
        self.seen = 0

    def run(self, times: int, together: Barrier) -> None:
        together.wait(60)
        session = Smtp(self.server.smtp)
        session.expect(b"EHLO client.example", b"250")
        try:
            for number in range(times):
                if self.dice.random() < 0.5:
                    session.close()
                    session = Smtp(self.server.smtp)
                    session.expect(b"EHLO client.example", b"250")
                self.once(session, number)
        finally:
            session.close()

    def once(self, session: Smtp, number: int) -> None:
        boxes = self.dice.sample(self.boxes, self.dice.choice((1, 1, 1, 2, 3)))
        [octets] = self.dice.choices(SIZES, (8, 8, 8, 4, 1))
        body = (b"%s\r\n" % self.dice.randbytes(octets // 2).hex().encode()) if octets else b""
        content = message(f"{self.name}.{number}", body)
        session.expect(b"MAIL FROM:<%s@client.example>" % self.name.encode(), b"250 ")
        for box in boxes:
            session.expect(b"RCPT TO:<%s>" % box.address.encode(), b"250 ")
        session.expect(b"DATA", b"354 ")
        session.send(content)
        with ExitStack() as stack:
            readers = [(box, stack.enter_context(Pop3(self.server.pop3))) for box in boxes]
            for box, reader in readers:
                reader.expect(b"USER %s" % box.address.encode(), b"+OK")
            session.expect(b".", b"250 ")
            for box, reader in readers:
                self.expected[box.name].append(content)
                self.look(box, reader, number)

    def look(self, box: Mailbox, session: Pop3, number: int) -> None:
        """The mailbox has the newest message, all octets right, and nothing that it must not have."""
        expected = self.expected[box.name]
        session.expect(b"PASS " + box.password.encode(), b"+OK")
        count = int(session.expect(b"STAT", b"+OK ").split()[1])
        found = [original(session.multi(b"RETR %d" % each)) for each in range(1, count + 1)]
        if expected[-1] not in found:
            self.missing.append(f"message {number} of {self.name} in {box.name}")
        else:
            self.seen += 1
        assert Counter(found) <= Counter(expected), f"{box.name} has what it must not have"
        if count > KEPT:
            for each in range(1, count + 1):
                session.expect(b"DELE %d" % each, b"+OK")
            expected.clear()
        session.expect(b"QUIT", b"+OK")


def mailboxes(number: int) -> list[str]:
    return [f"client{number}{letter}" for letter in "abc"]


def test_a_message_is_there_as_soon_as_its_250_is_read(make_server: Makes) -> None:
    names = [name for number in range(CLIENTS) for name in mailboxes(number)]
    server = make_server(configuration(accounts=names, tables="")).start()
    clients = [Client(server, number) for number in range(CLIENTS)]
    together = Barrier(CLIENTS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(client.run, TIMES // CLIENTS, together) for client in clients]
        for run in runs:
            run.result()
    missing = [each for client in clients for each in client.missing]
    assert not missing, f"{len(missing)} messages were not there: {missing[:5]}"
    # Some messages went to more than one mailbox.
    assert sum(client.seen for client in clients) > TIMES // CLIENTS * CLIENTS
    for client in clients:
        for box in client.boxes:
            assert Counter(map(original, box.messages())) == Counter(client.expected[box.name])
