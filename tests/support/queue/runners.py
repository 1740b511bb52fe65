"""A spool with its runner, routes and a clock on the wall, for tests of what waits."""

from email import message_from_bytes, policy
from itertools import accumulate, chain, repeat

from twisted.internet.defer import fail, succeed

from mailserver.delivery.local import LocalDelivery
from mailserver.interfaces import QueuedMessage
from mailserver.mail.address import Address
from mailserver.mail.queued import LOCAL, FailedAttempt, QueuedRecipient
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import MAILBOX_FULL, Destination
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.fetching import FetchingRunner
from mailserver.queue.reports import Reports
from mailserver.queue.schedule import Schedule
from mailserver.routing.router import Router
from mailserver.routing.table import MailingList, Names, RoutingTable
from tests.support.fakes import stand_in
from tests.support.queue.spools import FIRST_RETRY, NOW, Spools
from tests.support.store.messages import ALICE, BOB, MESSAGE

DAVE = Address("dave", "example.org")
ERIN = Address("erin", "example.org")
BOTH = Address("both", "example.org")
CLUB = Address("club", "example.org")
BOUNCES = Address("club-bounces", "example.org")
NAMES = Names(
    domains=["example.org"],
    accounts=[ALICE, BOB, DAVE, ERIN],
    aliases={BOTH: [ALICE, BOB]},
    lists={CLUB: MailingList((ALICE, BOB), DAVE)},
)
HOUR, YEAR = 3600.0, 365 * 86400.0
RETRY = (FIRST_RETRY, 900.0, 1800.0, HOUR)
SCHEDULE = Schedule(RETRY, 6 * HOUR)
FULL = Quota(octets=1)


def attempts_of(schedule):
    """When attempts are made, in seconds after the first: until ``expire_after``, and once not before it."""
    times = []
    for time in accumulate(chain(schedule.retry, repeat(schedule.retry[-1]))):
        times.append(time)
        if time >= schedule.expire_after:
            return times
    return times


TIMES = attempts_of(SCHEDULE)


def member(mailbox):
    return Destination(mailbox, CLUB, BOUNCES)


def by_alias(mailbox):
    return Destination(mailbox, BOTH)


class Queue:
    """A spool with its runner, and the time when each attempt was begun, in seconds after the start.

    ``jump`` is how far the clock on the wall has been moved; the reactor's time only goes on.
    """

    def __init__(self, spools: Spools) -> None:
        self.spools = spools
        self.reactor = spools.reactor
        self.router = Router(RoutingTable(NAMES))
        self.jump = 0.0
        self.schedule = SCHEDULE
        self.times: list[float] = []
        self.start()

    def start(self) -> None:
        spool, reactor = self.spools.spool, stand_in(self.reactor)
        self.runner = FetchingRunner(
            spool,
            {LOCAL: LocalDelivery(spool)},
            Reports(spool, self.router, "mail.example.org", reactor, self.now),
            lambda: self.schedule,
            reactor,
            now=self.now,
        )
        self.runner.start()

    def now(self) -> float:
        """The time on the wall."""
        return self.reactor.seconds() + self.jump

    def stop(self) -> None:
        self.spools.wait(self.runner.stop())

    def restart(self, leave=Spools.close) -> None:
        self.stop()
        self.spools.reopen(leave)
        self.start()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        end = self.reactor.seconds() + seconds
        while True:
            self.finish()
            self.spools.checkpoint()
            due = [call.getTime() for call in self.reactor.getDelayedCalls()]
            if not due or min(due) > end:
                break
            self.reactor.advance(max(min(due) - self.reactor.seconds(), 0.0))
            if self.runner._busy:
                self.times.append(self.reactor.seconds() - NOW)
        self.reactor.advance(end - self.reactor.seconds())

    def finish(self) -> None:
        """Let the attempts that are under way end; nothing else happens."""
        while self.runner._busy:
            self.spools.wait(next(iter(self.runner._busy)))

    def deliver(self, *to, reverse_path=ALICE) -> None:
        self.spools.wait(self.spools.deliver(MESSAGE, *to, reverse_path=reverse_path))

    def waiting(self) -> list[str]:
        return [who.address for _, all_ in self.spools.waiting() for who in all_]

    def full(self, *mailboxes: Address) -> None:
        """From now on these have no room, and no others."""
        self.spools.quotas.clear()
        self.spools.quotas.update(dict.fromkeys(mailboxes, FULL))

    def reports(self, mailbox: Address):
        """The reports in a mailbox; nothing else may be there but messages of ours."""
        found = [message_from_bytes(data, policy=policy.SMTP) for data in self.spools.look(mailbox)]
        return [one for one in found if one.get_content_type() == "multipart/report"]


class Recorded:
    """Notes what it is given, and answers what it was told to: an outcome, or a failure."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def deliver(self, message, recipients):
        self.asked.append((message.id, [each.address for each in recipients]))
        answers = {each: self.answers[each.address.partition("@")[0]] for each in recipients}
        failures = [one for one in answers.values() if isinstance(one, Exception)]
        return fail(failures[0]) if failures else succeed(answers)


def enqueue(queue, *recipients, due=NOW, attempts=1, notify="", **asked):
    """A message from erin for these: each a destination and an address. ``asked``: of the message."""
    history = (FailedAttempt(NOW, MAILBOX_FULL, "full"),) * attempts
    who = [
        QueuedRecipient(number, where, address, address, str(ERIN), b"", attempts, due, history, notify)
        for number, (where, address) in enumerate(recipients, 1)
    ]
    seq = queue.spools.spool.next_seq()
    transaction = queue.spools.engine.begin()
    content = InMemoryContent(MESSAGE)
    message = QueuedMessage(seq, f"id{seq}", NOW, str(ERIN), len(MESSAGE), content, **asked)
    transaction.enqueue(message, who)
    transaction.commit()
    queue.spools.spool.waits([where for where, _ in recipients], due)
    return seq


def deliver_by(queue, **deliveries):
    attempts = queue.runner._attempts
    attempts._deliveries = {**attempts._deliveries, **deliveries}
