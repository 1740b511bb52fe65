"""Other servers to which the killed one relays, and what must have arrived there.

They live as long as the stand, over many kills. ``far.example`` takes mail for everybody but ``no@``, and
defers ``later@`` the first time and ``slow-…@`` three times; ``other.example`` cannot report success;
``loses.example`` takes a message and loses its first answer about each recipient.

A message is known by the id that our 250 names, so the rules are exact. Of each recipient, either the other
server has the message or it is bounced, once; not both, nor neither. A life of our server gives it one copy
at most, and none if an earlier life has logged that it was relayed.
"""

import re
import time
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from email import message_from_bytes, policy
from math import inf

from tests.crash.ledger import NAME, Sent
from tests.support.e2e.commands import begin, end
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Server, wait_until
from tests.support.far_sides.beside import FarSides
from tests.support.far_sides.far_side import EXTENSIONS
from tests.support.far_sides.scripts import Drop, Keep, Rule, Silence, reply

FAR, OTHER, LOSES = "far.example", "other.example", "loses.example"
REPORTER = "reporter"  # the account that sends, and gets the reports
CHIEF = f"chief@{OTHER}"  # a sender who gets them elsewhere
REFUSED, DEFERRED, LOST = f"no@{FAR}", f"later@{FAR}", f"lost-*@{LOSES}"
ENDED, GONE = f"ended@{FAR}", f"gone@{FAR}"  # for the administrator to expire, and to remove
SECONDS = 60.0  # until the queue is empty
EMPTY = "0 messages, 0 recipients waiting"

OPEN = (
    Rule("RCPT", reply("550 5.1.1 nobody"), where="no@"),
    Rule("RCPT", reply("450 4.2.1 later"), where="later@", times=1, per="connection"),
    Rule("RCPT", reply("450 4.2.1 later"), where="slow-", times=3, per="argument"),
)
CLOSED = (Rule("RCPT", reply("450 4.3.2 not now")),)
SILENT = (Rule("RCPT", (Silence(),)),)
LOSING = (Rule(".", (Keep(), Drop()), times=1, per="argument"),)
ID = re.compile(rb"\bid ([0-9a-z]+)")
ABOUT = re.compile(rb"^X-Queue-ID: ([0-9a-z]+)\r$", re.M)
RELAYED = re.compile(r"([0-9a-z]+): relayed: <[^>]*> to (<.*?>): ")


class Outside:
    """The other servers. ``tables`` is what our configuration says about them."""

    def __init__(self) -> None:
        self._sides = FarSides()
        self._far, port = self._sides.listen(script=OPEN)
        plain = [each for each in EXTENSIONS if each != "DSN"]
        self._other, other_port = self._sides.listen(name=OTHER, extensions=plain)
        _, loses_port = self._sides.listen(name=LOSES, script=LOSING)
        self.tables = (
            f'[relay]\nroutes = {{ "{FAR}" = "127.0.0.1:{port}", "{OTHER}" = "127.0.0.1:{other_port}", '
            f'"{LOSES}" = "127.0.0.1:{loses_port}" }}\n'
            '[queue]\nretry = ["200ms", "500ms"]\nexpire_after = "1h"\nwarn_after = "100ms"\n'
        )
        self._sent: dict[str, Sent] = {}
        self._touched: set[str] = set()
        self._lives: list[float] = []  # when each began
        self._recorded: dict[tuple[str, str], int] = {}  # in which life
        self._copies: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._ids: dict[str, set[str]] = defaultdict(set)  # by token
        self._removing: set[tuple[str, str]] = set()  # tokens and addresses
        self._removed: dict[tuple[str, str], float] = {}  # when, by id and address
        self._reports: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
        self._known: set[bytes] = set()  # reports
        self._seen: Counter[str] = Counter()

    def close(self) -> None:
        self._sides.close()

    def refuse_for_now(self, yes: bool) -> None:
        """Defer every recipient, or serve again."""
        self._far.script = CLOSED if yes else OPEN

    def be_silent(self) -> None:
        """Answer no recipient any more, for now."""
        self._far.script = SILENT

    def begins(self, sent: Sent) -> None:
        """The first octet of a message is about to be sent."""
        self._sent[sent.token] = sent
        self._touched.add(sent.token)

    def begins_life(self, log: str) -> None:
        """Our server is about to start; this is what it has logged before."""
        for found in RELAYED.finditer(log):
            for to in re.findall("<(.*?)>", found[2]):
                self._recorded.setdefault((found[1], to), len(self._lives))
        self._lives.append(time.time())

    def administer(self, server: Server, action: str, to: str = "") -> None:
        """Run ``mailserver queue`` for these recipients, or for all. It may find none, or no server."""
        about = [(token, to) for token in self._touched if to in self._sent[token].to]
        if action == "remove":
            self._removing.update(about)
        known = [(id_, to) for token, _ in about for id_ in self._sent[token].ids]
        status, _ = _run(server, action, *(("--recipient", to) if to else ("--all",)))
        if action == "remove" and status == 0:
            # A message that was delivered before waits no more, and is not among the removed ones.
            self._removed.update(dict.fromkeys(known, time.time()))

    # ------------------------------------------------------------ after a restart

    def check(self, server: Server) -> list[str]:
        """Wait until nothing waits, and compare: all that is wrong."""
        if not self._sent:
            return []
        wrong: list[str] = []
        self.refuse_for_now(False)
        for action in ("release", "retry"):
            _run(server, action, "--all")
        try:
            wait_until(lambda: _waiting(server) == EMPTY, "an empty queue", SECONDS)
        except AssertionError:
            wrong.append(f"the queue is not empty after {SECONDS} s: {_waiting(server)}")
        before = {key: len(copies) for key, copies in self._copies.items()}
        wrong += [*self._take_copies(), *self._take_reports(server)]
        for token, sent in self._sent.items():
            wrong += self._compare(sent) if token in self._touched else self._compare_old(sent, before)
        self._touched.clear()
        return wrong

    def _compare_old(self, sent: Sent, before: dict[tuple[str, str], int]) -> Iterator[str]:
        for key in ((id_, to) for id_ in self._ids[sent.token] for to in sent.to):
            if len(self._copies.get(key, ())) != before.get(key, 0):
                yield f"{sent.token} was delivered again, long after its end: {key}"

    def _compare(self, sent: Sent) -> Iterator[str]:
        self._ids[sent.token].update(sent.ids)
        if len(self._ids[sent.token]) > sent.most:
            yield f"{sent.token} was accepted as {sorted(self._ids[sent.token])}, {sent}"
        for id_ in self._ids[sent.token]:
            for to in (to for to in sent.to if "@" in to):
                if problem := self._verdict(sent, id_, to):
                    yield f"{to}: {sent.token}, {id_}, {problem}, {self._reports[id_, to]}, {sent}"

    def _verdict(self, sent: Sent, id_: str, to: str) -> str:
        copies, reports = self._copies[id_, to], self._reports[id_, to]
        failures = {status: count for (action, status), count in reports.items() if action == "failed"}
        lives = Counter(bisect(self._lives, began) - 1 for began in copies)
        recorded = self._recorded.get((id_, to), len(self._lives))
        is_lost = to.endswith(f"@{LOSES}")
        often = [life for life, count in lives.items() if count > 1 + (is_lost and life == min(lives))]
        expected = {REFUSED: "5.1.1", ENDED: "5.4.7"}.get(to)
        answered = id_ in sent.ids
        if any(count > 1 for count in reports.values()):
            return "was reported twice"
        if copies and failures:
            return "was delivered, and bounced falsely"
        if any(status != expected for status in failures):
            return "was bounced falsely, or with a wrong status"
        if often or any(life > recorded for life in lives):
            return f"was delivered {len(copies)} times, in the lives {sorted(lives)}, recorded in {recorded}"
        removed = self._removed.get((id_, to), inf)
        if any(began > removed for began in copies) or (failures and removed < inf):
            return "was removed, and is back"
        if answered and not (copies or failures or (sent.token, to) in self._removing):
            return "was answered 250 and is lost: neither delivered nor bounced"
        # If a message was sent twice, its deferrals may have met the other one.
        ids = self._ids[sent.token] if sent.wants == "delayed" else {id_}
        if answered and sent.wants and not self._is_reported(ids, to, sent.wants):
            return f"has no report as {sent.wants}"
        return ""

    def _is_reported(self, ids: Iterable[str], to: str, action: str) -> bool:
        return any(kind == action for id_ in ids for kind, _ in self._reports[id_, to])

    def _take_copies(self) -> Iterator[str]:
        """Count what the other servers have accepted since the last time."""
        for far in self._sides.made:
            new = far.transactions[self._seen[far.name] :]
            self._seen[far.name] += len(new)
            for one in (one for one in new if one.kept):
                if not one.sender:
                    self._take_report(one.content)
                    continue
                named, id_ = NAME.search(one.content), ID.search(one.content)
                sent = self._sent.get(named[1].decode() if named else "")
                if sent is None or id_ is None or not one.content.endswith(sent.octets):
                    yield f"torn on its way: {len(one.content)} octets, {one.content[:500]!r}, {sent}"
                    continue
                self._ids[sent.token].add(id_[1].decode())
                for to in one.accepted:
                    self._copies[id_[1].decode(), to].append(one.began)

    def _take_reports(self, server: Server) -> Iterator[str]:
        """Count the reports in the mailbox, and remove them."""
        with Mailbox(server, REPORTER).login() as session:
            for number, _ in enumerate(session.multi(b"LIST").splitlines(), 1):
                report = session.multi(b"RETR %d" % number)
                if not self._take_report(report):
                    yield f"not a report about what was sent: {report!r}"
                session.expect(b"DELE %d" % number, b"+OK")
            session.expect(b"QUIT", b"+OK")

    def _take_report(self, report: bytes) -> bool:
        """Count what a report says; one that comes twice from a queue counts once."""
        id_, named = ABOUT.search(report), NAME.search(report.partition(b"Final-Recipient")[2])
        if id_ is None or named is None or named[1].decode() not in self._sent:
            return False
        if report not in self._known:
            self._known.add(report)
            self._ids[named[1].decode()].add(id_[1].decode())
            for part in message_from_bytes(report, policy=policy.SMTP).walk():
                if part["Action"]:
                    to = part["Final-Recipient"].partition(";")[2].strip()
                    key = part["Action"].strip().lower(), part["Status"].split()[0]
                    self._reports[id_[1].decode(), to][key] += 1
        return True


def _waiting(server: Server) -> str:
    """The last line of ``mailserver queue list``."""
    return (_run(server, "list")[1] or [""])[-1]


def _run(server: Server, *words: str) -> tuple[int, list[str]]:
    """Run ``mailserver queue`` as a process: without a server it does the work itself, and other threads are
    not to see another environment."""
    status, lines, _ = end(begin(server, "queue", *words))
    return status, lines
