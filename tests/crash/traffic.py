"""Clients at work on a server until it goes away: several that send, one that removes.

All that they do is in the ledger. From ``freeze`` on, answers no longer count: what had been answered before
must survive a crash that comes later, and of what is answered after it nothing is said.
"""

import random
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.crash.ledger import Ledger
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import DOMAIN, Server, configuration

BOXES = tuple(f"box{number}" for number in range(8))
MEMBERS = ("member0", "member1", "member2")
CONFIGURATION = configuration(
    accounts=(*BOXES, *MEMBERS),
    tables=f"""
[[list]]
address = "club@{DOMAIN}"
members = {[f"{name}@{DOMAIN}" for name in MEMBERS]}
""",
)
SENDERS = 6
SIZES, WEIGHTS = (0, 100, 3_000, 20_000, 300_000), (1, 4, 4, 2, 1)  # octets of a body
SECONDS = 60.0  # for an answer
FEW = 15  # messages that a cleaning leaves in a mailbox

Failures = (OSError, EOFError, AssertionError, smtplib.SMTPException)


class Traffic:
    """``counts`` gets what was answered in time; ``wrong`` gets what should not have happened."""

    def __init__(self, server: Server, ledger: Ledger, counts: Counter[str]) -> None:
        self.server = server
        self.ledger = ledger
        self.counts = counts
        self.wrong: list[str] = []
        self.threads: list[threading.Thread] = []
        self._frozen = False
        self._lock = threading.Lock()

    def one_by_one(self, dice: random.Random) -> None:
        """One client at a time, so that nobody else's sync makes safe what the last one was answered."""
        for work in dice.choices([self._send, self._remove], k=dice.randint(1, 4)):
            self._run(work, dice, once=True)

    def start(self, seed: int, senders: int = SENDERS, removers: int = 1) -> None:
        """Many clients at once, until ``freeze`` or the end of the server."""
        for number, work in enumerate([self._send] * senders + [self._remove] * removers):
            dice = random.Random(f"{seed} {number}")
            self.threads.append(threading.Thread(target=self._run, args=(work, dice), daemon=True))
            self.threads[-1].start()

    def wait_for(self, answers: int) -> None:
        """Until so many messages have been answered 250, or something has gone wrong."""
        enough, end = self.counts["answered"] + answers, time.monotonic() + SECONDS
        while self.counts["answered"] < enough and not self.wrong:
            if time.monotonic() > end:
                self.wrong.append(f"{answers} messages are not answered within {SECONDS} s")
            time.sleep(0.01)

    def freeze(self) -> None:
        """When this returns, everything that counts has been answered."""
        with self._lock:
            self._frozen = True

    def join(self) -> None:
        """Wait for the clients of a server that has been killed."""
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()

    def check(self, dice: random.Random) -> None:
        """Read and compare all mailboxes of a server just started, and make room in them."""
        for name in (*BOXES, *MEMBERS):
            try:
                with Mailbox(self.server, name).login() as session:
                    uids = [line.split(b" ")[1].decode() for line in session.multi(b"UIDL").splitlines()]
                    found = {uid: session.multi(b"RETR %d" % one) for one, uid in enumerate(uids, 1)}
                    session.expect(b"QUIT", b"+OK")
                self.wrong += self.ledger.check(name, found)
                self._clean(name, FEW, dice)
            except Failures as error:
                self.wrong.append(f"{name} cannot be read: {error!r:.300}")

    def _clean(self, name: str, leave: int, dice: random.Random) -> None:
        """Remove all but so many messages in one session, by chance which."""
        with Mailbox(self.server, name).login() as session:
            uids = [line.split(b" ")[1].decode() for line in session.multi(b"UIDL").splitlines()]
            chosen = dice.sample(uids, max(len(uids) - leave, 0))
            unread = set(self.ledger.unread(name, chosen))
            for uid in chosen:
                number = b"%d" % (uids.index(uid) + 1)
                if uid in unread:
                    self.wrong += self.ledger.saw(name, uid, session.multi(b"RETR " + number))
                session.expect(b"DELE " + number, b"+OK")
            self.ledger.quits(name, chosen)
            session.expect(b"QUIT", b"+OK")
        with self._lock:
            if not self._frozen:
                self.ledger.quit_answered(name, chosen)
                self.counts["removed"] += len(chosen)

    def _run(self, work: Callable[[random.Random], None], dice: random.Random, once: bool = False) -> None:
        try:
            while not self._frozen:
                work(dice)
                if once:
                    return
        except Failures as error:
            if not self._frozen:
                self.wrong.append(f"a client was not served: {error!r:.300}")

    def _send(self, dice: random.Random) -> None:
        with smtplib.SMTP(*self.server.smtp, timeout=SECONDS) as client:
            for _ in range(dice.randint(1, 10)):
                self._deliver(client, dice)

    def _deliver(self, client: smtplib.SMTP, dice: random.Random) -> None:
        boxes = recipients = dice.sample(BOXES, dice.choice((1, 1, 2, 4)))
        if dice.random() < 0.2:
            boxes, recipients = [*boxes, *MEMBERS], [*recipients, "club"]
        addresses = [f"{one}@{DOMAIN}" for one in recipients]
        (size,) = dice.choices(SIZES, WEIGHTS)
        sent = self.ledger.new(addresses, boxes, size)
        self.ledger.begins(sent)
        refused = client.sendmail(SENDER, addresses, sent.octets)
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)
        with self._lock:
            if not self._frozen:
                sent.answered += 1
                self.counts.update(answered=1, copies=len(boxes))

    def _remove(self, dice: random.Random) -> None:
        self._clean(dice.choice((*BOXES, *MEMBERS)), dice.randint(0, FEW), dice)
