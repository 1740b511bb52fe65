"""kill -9 in a stream of deliveries: what was answered 250 is there, and what was not removed stays."""

import random
import smtplib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.support.corpus.messages import MESSAGES, message, original
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import Makes, Server, configuration, wait_until

SENDERS = 8
BOXES = [f"box{number}" for number in range(SENDERS)]
SIZES = (0, 40, 3_000, 20_000, 300_000)


@dataclass
class Sender:
    """Sends different messages, each to one or two mailboxes, until the server is gone."""

    name: str
    tried: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)
    answered: int = 0

    def run(self, server: Server) -> None:
        dice = random.Random(self.name)
        try:
            while True:
                with smtplib.SMTP(*server.smtp, timeout=20) as client:
                    for number in range(dice.randint(1, 10)):
                        self.send(client, dice, number)
        except (OSError, smtplib.SMTPServerDisconnected):
            return  # killed

    def send(self, client: smtplib.SMTP, dice: random.Random, number: int) -> None:
        octets = dice.choice(SIZES)
        name = f"{self.name}.{len(self.tried)}.{number}"
        body = (b"%s\r\n" % dice.randbytes(octets // 2).hex().encode()) if octets else b""
        boxes = tuple(dice.sample(BOXES, dice.choice((1, 1, 2))))
        content = message(name, body)
        self.tried.append((boxes, content))
        client.sendmail(SENDER, [f"{box}@example.org" for box in boxes], content)
        self.answered = len(self.tried)


def deliver_until_killed(server: Server, name: str, after: int, pause: float) -> list[Sender]:
    """Run all senders, and kill the server a moment after it has answered so many messages."""
    senders = [Sender(f"{name}.{number}") for number in range(SENDERS)]
    threads = [threading.Thread(target=sender.run, args=(server,)) for sender in senders]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(sender.answered for sender in senders) >= after, "deliveries", 60)
    time.sleep(pause)
    server.kill()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return senders


def check(server: Server, senders: list[Sender]) -> None:
    """Everything answered is there, nothing is torn, and nothing is there twice."""
    for name in BOXES:
        found = Counter(original(stored) for stored in Mailbox(server, name).messages())
        answered, tried = set(), set()
        for sender in senders:
            tried.update(content for boxes, content in sender.tried if name in boxes)
            answered.update(content for boxes, content in sender.tried[: sender.answered] if name in boxes)
        lost = [content[:300] for content in answered - set(found)]
        assert not lost, f"{len(lost)} messages answered 250 are not in {name}: {lost[:3]}"
        torn = [content[:300] for content in set(found) - tried]
        assert not torn, f"{len(torn)} messages in {name} were never sent so: {torn[:3]}"
        assert max(found.values(), default=0) <= 1, f"a message is twice in {name}"


def test_every_answered_message_is_there(make_server: Makes) -> None:
    server = make_server(configuration(accounts=BOXES, tables="")).start()
    moments = ((1, 0.013), (40, 0.0), (150, 0.013))
    senders: list[Sender] = []
    uids: dict[str, list[bytes]] = {name: [] for name in BOXES}
    for round_, (after, pause) in enumerate(moments):
        senders += deliver_until_killed(server, str(round_), after, pause)
        server.start()
        check(server, senders)
        for name, known in uids.items():
            now = Mailbox(server, name).uids()
            assert set(known) <= set(now), "a unique-id has changed"
            assert len(set(now)) == len(now)
            uids[name] = now


@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "during-deliveries"])
def test_only_an_answered_quit_removes(make_server: Makes, busy: bool) -> None:
    names = [*BOXES, "cut", "done"]
    server = make_server(configuration(accounts=names, tables="")).start()
    cut, done = Mailbox(server, "cut"), Mailbox(server, "done")
    for box in (cut, done):
        box.fill(*MESSAGES.values())
    uids, kept = cut.uids(), done.uids()[3:]
    with cut.login() as session:
        for number in (1, 2, 3):
            session.expect(b"DELE %d" % number, b"+OK")
        with done.login() as other:
            for number in (1, 2, 3):
                other.expect(b"DELE %d" % number, b"+OK")
            other.expect(b"QUIT", b"+OK")
            if busy:
                deliver_until_killed(server, "quit", 30, 0.0)
            else:
                server.kill()
        assert session.rest() == b""
    server.start()
    assert cut.uids() == uids
    assert done.uids() == kept
    assert [original(stored) for stored in cut.messages()] == list(MESSAGES.values())
    assert [original(stored) for stored in done.messages()] == list(MESSAGES.values())[3:]
