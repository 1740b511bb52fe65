"""Another server to which the killed one relays, and what must have arrived there.

It lives as long as the stand, over many kills. It takes mail for everybody but ``no@``, and defers ``later@``
the first time. A recipient that it takes has the message at least once, and is never bounced. A kill between
its answer and our record of it may make one more copy, and nothing else may. ``no@`` is bounced once for each
accepted message.
"""

import re
from collections import Counter, defaultdict

from tests.crash.ledger import NAME, Sent
from tests.support.e2e.commands import mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Server, wait_until
from tests.support.far_sides.beside import FarSides
from tests.support.far_sides.scripts import Rule, reply

FAR = "far.example"
REPORTER = "reporter"  # the account that sends, and gets the reports
REFUSED, DEFERRED = f"no@{FAR}", f"later@{FAR}"
SECONDS = 20.0  # until the queue is empty
EMPTY = "0 messages, 0 recipients waiting"

OPEN = (
    Rule("RCPT", reply("550 5.1.1 nobody"), where="no@"),
    Rule("RCPT", reply("450 4.2.1 later"), where="later@", times=1, per="connection"),
)
CLOSED = (Rule("RCPT", reply("450 4.3.2 not now")),)
FINAL = re.compile(rb"^Final-Recipient: *rfc822; *(\S+)", re.I | re.M)


class Outside:
    """The other server. ``tables`` is what our configuration says about it."""

    def __init__(self) -> None:
        self._sides = FarSides()
        self._far, port = self._sides.listen(script=OPEN)
        self.tables = (
            f'[relay]\nroutes = {{ "{FAR}" = "127.0.0.1:{port}" }}\n'
            '[queue]\nretry = ["200ms", "500ms"]\nexpire_after = "1h"\n'
        )
        self._sent: dict[str, Sent] = {}
        self._touched: set[str] = set()
        self._kills: Counter[str] = Counter()
        self._copies: dict[str, Counter[str]] = defaultdict(Counter)
        self._reports: Counter[str] = Counter()
        self._seen = 0

    def close(self) -> None:
        self._sides.close()

    def refuse_for_now(self, yes: bool) -> None:
        """Defer every recipient, or serve again."""
        self._far.script = CLOSED if yes else OPEN

    def begins(self, sent: Sent) -> None:
        """The first octet of a message is about to be sent."""
        self._sent[sent.token] = sent
        self._touched.add(sent.token)

    # ------------------------------------------------------------ after a restart

    def check(self, server: Server) -> list[str]:
        """Wait until nothing waits, and compare: all that is wrong."""
        if not self._sent:
            return []
        wrong: list[str] = []
        try:
            wait_until(lambda: _waiting(server) == EMPTY, "an empty queue", SECONDS)
        except AssertionError:
            wrong.append(f"the queue is not empty after {SECONDS} s: {_waiting(server)}")
        before = {token: copies.copy() for token, copies in self._copies.items()}
        wrong += self._take_copies()
        wrong += self._take_reports(server)
        self._kills.update(self._touched)
        for token, sent in self._sent.items():
            if token in self._touched:
                wrong += self._compare(sent)
            elif self._copies[token] != before.get(token, Counter()):
                wrong.append(f"{token} was delivered again, long after its end: {self._copies[token]}")
        self._touched.clear()
        return wrong

    def _compare(self, sent: Sent) -> list[str]:
        wrong, token = [], sent.token
        for to in sent.to:
            copies = self._copies[token][to]
            if to == REFUSED:
                copies, most, what = self._reports[token], sent.most, "reported"
            else:
                most, what = sent.most + self._kills[token], "delivered"
            if copies < min(sent.answered, 1) or copies < sent.answered - self._kills[token]:
                wrong.append(f"{to}: {token} was answered 250 and is lost, {what} {copies} times, {sent}")
            elif copies > most:
                wrong.append(f"{to}: {token} was {what} {copies} times, {sent}")
        return wrong

    def _take_copies(self) -> list[str]:
        """Count what the other server has accepted since the last time."""
        wrong: list[str] = []
        new = self._far.transactions[self._seen :]
        self._seen += len(new)
        for one in (one for one in new if one.kept):
            named = NAME.search(one.content)
            sent = self._sent.get(named[1].decode() if named else "")
            if sent is None or not one.content.endswith(sent.octets):
                wrong.append(f"torn on its way: {len(one.content)} octets, {one.content[:500]!r}, {sent}")
                continue
            for to in one.accepted:
                self._copies[sent.token][to] += 1
        return wrong

    def _take_reports(self, server: Server) -> list[str]:
        """Count the reports, and remove them."""
        wrong: list[str] = []
        with Mailbox(server, REPORTER).login() as session:
            for number, _ in enumerate(session.multi(b"LIST").splitlines(), 1):
                report = session.multi(b"RETR %d" % number)
                named = NAME.search(report.partition(b"Final-Recipient")[2])
                token = named[1].decode() if named else "?"
                self._reports[token] += 1
                for to in FINAL.findall(report):
                    if to.decode() != REFUSED:
                        wrong.append(f"{to.decode()}: {token} was bounced falsely: {report!r}")
                session.expect(b"DELE %d" % number, b"+OK")
            session.expect(b"QUIT", b"+OK")
        return wrong


def _waiting(server: Server) -> str:
    """The last line of ``mailserver queue list``."""
    return (mailserver(server, "queue", "list")[1] or [""])[-1]
