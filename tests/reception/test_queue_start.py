"""ETRN through a reception: who may start the queue for which domain, and what comes of it."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from mailserver.config.schema.mail_kinds import NETWORK
from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.mail.verdict import Defer, QueueStarted
from mailserver.policy.relay import NO_START, NOT_OURS, RelayPermission
from mailserver.reception.reception import NOT_STARTED, Reception
from mailserver.reception.transaction import Client
from mailserver.smtp.verdicts import queue_reply
from tests.support.fakes import stand_in

INSIDE, OUTSIDE = Client("192.0.2.1"), Client("198.51.100.1")
USER = Client("198.51.100.1", account=Address("alice", "example.org"))


class Starter:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.domains: list[str] = []

    def start_domain(self, domain: str) -> Any:
        self.domains.append(domain)
        return self.answer


def asked(client: Client, domain: str, starter: Starter) -> Any:
    check = RelayPermission([NETWORK.read("192.0.2.0/24", stand_in(None))], ["example.net"])
    reception = Reception(
        stand_in(None), stand_in(None), [check], hostname="mail.example.org", starter=stand_in(starter)
    )
    verdict = reception.start_queue(client, domain)
    return verdict.result if isinstance(verdict, Deferred) else verdict


@pytest.mark.parametrize("client", [INSIDE, USER])
def test_a_queue_is_started(client: Client) -> None:
    starter = Starter(succeed(QueueStarted(3)))
    assert asked(client, "example.net", starter) == QueueStarted(3)
    assert starter.domains == ["example.net"]


@pytest.mark.parametrize(
    ("client", "domain", "verdict"),
    [
        (OUTSIDE, "example.net", NO_START),
        (Client(), "example.net", NO_START),
        (INSIDE, "elsewhere.example", NOT_OURS),
        (USER, "sub.example.net", NOT_OURS),
    ],
)
def test_who_may_not(client: Client, domain: str, verdict: object) -> None:
    starter = Starter(None)
    assert asked(client, domain, starter) is verdict
    assert starter.domains == []


def test_a_queue_that_cannot_be_read() -> None:
    verdict = asked(INSIDE, "example.net", Starter(fail(StorageError("no"))))
    assert isinstance(verdict, Defer)
    assert queue_reply("example.net", verdict).octets == (
        b"458 4.3.0 Unable to queue messages for node example.net: the queue is not available now\r\n"
    )


def test_without_a_check_nobody_may() -> None:
    reception = Reception(stand_in(None), stand_in(None), hostname="mail.example.org")
    assert reception.start_queue(USER, "example.net") is NOT_STARTED
