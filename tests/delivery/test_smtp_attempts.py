"""Attempts to send to other servers: what each failure comes to, which host is next, what is sent again."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.dns.records import MX
from mailserver.errors import DNSFailure, MessageDamaged, StorageError
from mailserver.mail import outcome
from mailserver.mail.verdict import Status
from mailserver.smtp.sender.events import CloseCause, Fate
from tests.support.delivery.relaying import (
    ACCEPTED,
    TEXT,
    UNTRIED,
    Relay,
    ScriptedConnection,
    recipient,
    result,
    two_hosts,
    unusable,
)

MX1, MX2 = "mx1.example.net[198.41.0.4]", "mx2.example.net[199.9.14.201]"
REJECTED = result(Fate.REJECTED, 550, "5.1.1 no such user")
LOST, REFUSED = CloseCause.LOST, CloseCause.REFUSED


def one(step: Any, cause: CloseCause | None = None) -> list[Any]:
    """The script of a host whose connections do this with their first message."""
    return [[([step], cause)]]


REFUSES = unusable("mx1.example.net[198.41.0.4]: connection refused")
BUSY = unusable("mx2.example.net[199.9.14.201] said: 421 4.7.0 too busy", "421 4.7.0 too busy")


def test_a_delivered_message() -> None:
    relay = Relay()
    assert relay.outcome() == outcome.Delivered(MX1, "250 2.0.0 ok")
    [(mail, content)] = relay.dialler.made[0].sent
    assert (mail.reverse_path, mail.recipients[0].address) == ("alice@example.org", "bob@example.net")
    assert (content, mail.size, mail.eight_bit, mail.utf8) == (TEXT, len(TEXT), False, False)
    [dialled] = relay.dialler.dialled
    assert (dialled.settings.hostname, dialled.settings.protocol) == ("mail.example.org", "smtp")
    assert (dialled.host.port, dialled.settings.credentials) == (25, None)


@pytest.mark.parametrize(
    ("scripts", "expected", "dialled"),
    [
        # The message is decided by the first host that speaks about it.
        (
            {"mx1": one(REJECTED)},
            outcome.Failed(
                Status(0, 0), f"{MX1} said: 550 5.1.1 no such user", "", MX1, "550 5.1.1 no such user"
            ),
            ["mx1"],
        ),
        (
            {"mx1": one(result(Fate.DEFERRED, 450, "4.7.1 greylisted"))},
            outcome.Deferred(
                Status(0, 0), f"{MX1} said: 450 4.7.1 greylisted", host=MX1, reply="450 4.7.1 greylisted"
            ),
            ["mx1"],
        ),
        # The session itself decides.
        (
            {"mx1": one(result(Fate.REJECTED, 0, "the message is too large"))},
            outcome.Failed(Status(0, 0), f"{MX1}: the message is too large", host=MX1),
            ["mx1"],
        ),
        # The answer to the dot is lost: never again at once.
        (
            {"mx1": one(result(Fate.UNCERTAIN, 0, "the connection is lost"), LOST)},
            outcome.Deferred(Status(0, 0), f"{MX1}: the connection is lost", host=MX1),
            ["mx1"],
        ),
        # A host that takes no mail at all is followed by the next one.
        ({"mx1": [REFUSES]}, outcome.Delivered(MX2, "250 2.0.0 ok"), ["mx1", "mx2"]),
        ({"mx1": one(UNTRIED, LOST)}, outcome.Delivered(MX2, "250 2.0.0 ok"), ["mx1", "mx2"]),
        (
            {"mx1": one(result(Fate.UNTRIED, 421, "4.3.2 bye"), REFUSED)},
            outcome.Delivered(MX2, "250 2.0.0 ok"),
            ["mx1", "mx2"],
        ),
        # No host takes mail: the last one gives the reason.
        (
            {"mx1": [REFUSES], "mx2": [BUSY]},
            outcome.Deferred(
                Status(7, 0),
                str(BUSY),
                host=MX2.partition(" ")[0],
                reply="421 4.7.0 too busy",
                unreachable=True,
            ),
            ["mx1", "mx2"],
        ),
        (
            {"mx2": [REFUSES], "mx1": [REFUSES]},
            outcome.Deferred(Status(4, 1), str(REFUSES), host=MX1, unreachable=True),
            ["mx1", "mx2"],
        ),
        (
            {"mx1": [REFUSES], "mx2": one(result(Fate.UNTRIED, 421, "4.3.2 bye"), REFUSED)},
            outcome.Deferred(
                Status(0, 0), f"{MX2} said: 421 4.3.2 bye", host=MX2, reply="421 4.3.2 bye", unreachable=True
            ),
            ["mx1", "mx2"],
        ),
        # A connection that ends within the message says nothing about other messages.
        (
            {"mx1": [REFUSES], "mx2": one(UNTRIED, LOST)},
            outcome.Deferred(Status(0, 0), f"{MX2}: the connection is lost", host=MX2),
            ["mx1", "mx2"],
        ),
        # TLS that is required is a matter of policy.
        (
            {"mx1": [REFUSES], "mx2": [unusable("mx2: no TLS", tls_failed=True)]},
            outcome.Deferred(Status(7, 0), "mx2: no TLS", host="mx2", unreachable=True),
            ["mx1", "mx2"],
        ),
        # A session that is alive, and takes no recipient: no second try.
        (
            {"mx1": one(result(Fate.UNTRIED, 0, "too many"))},
            outcome.Deferred(Status(0, 0), f"{MX1}: too many", host=MX1),
            ["mx1"],
        ),
    ],
)
def test_failures(scripts: dict[str, Any], expected: object, dialled: list[str]) -> None:
    relay = Relay(scripts={f"{name}.example.net": script for name, script in scripts.items()})
    assert relay.outcome() == expected
    assert [name.partition(".")[0] for name in relay.dialler.names] == dialled
    assert not relay.reactor.getDelayedCalls() or relay.dialler.made


NEVER = unusable(f"{MX1} said: 521 5.3.2 no mail here", "521 5.3.2 no mail here")


@pytest.mark.parametrize(
    ("second", "options", "expected"),
    [
        # RFC 7504 section 3: every host must say so.
        (NEVER, {}, outcome.Failed(Status(3, 2), str(NEVER), host=MX1, reply=NEVER.reply)),
        (REFUSES, {}, outcome.Deferred),
        ([([UNTRIED], LOST)], {}, outcome.Deferred),
        (NEVER, {"routes": {"example.net": "mx1.example.net:25"}}, outcome.Deferred),
    ],
)
def test_hosts_that_never_take_mail(second: Any, options: Any, expected: Any) -> None:
    relay = Relay(scripts={"mx1.example.net": [NEVER], "mx2.example.net": [second]}, **options)
    found = relay.outcome()
    assert found == expected or type(found) is expected


def test_a_host_that_was_down_comes_last() -> None:
    relay = Relay(scripts={"mx2.example.net": [REFUSES]})
    relay.dialler.down = {"mx1.example.net"}
    assert isinstance(relay.outcome(), outcome.Delivered)
    assert relay.dialler.names == ["mx2.example.net", "mx1.example.net"]


@pytest.mark.parametrize(
    ("fate", "cause", "down"),
    [
        (Fate.UNCERTAIN, LOST, {"mx1.example.net"}),
        (Fate.UNTRIED, LOST, {"mx1.example.net"}),
        (Fate.UNTRIED, None, set()),
        (Fate.ACCEPTED, REFUSED, set()),
        (Fate.REJECTED, LOST, set()),
    ],
)
def test_a_session_that_ends_too_early(fate: Fate, cause: CloseCause | None, down: set[str]) -> None:
    relay = Relay(scripts={"mx1.example.net": one(result(fate, 0, "x"), cause)})
    relay.outcome()
    assert relay.dialler.down == down


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({("example.net", "MX"): [MX(0, ".")]}, (outcome.Failed, Status(1, 10))),
        ({("other.example", "MX"): []}, (outcome.Failed, Status(1, 2))),
        ({("example.net", "MX"): DNSFailure("no answer")}, (outcome.Deferred, Status(4, 3))),
        ({("example.net", "MX"): [MX(0, "mail.example.org")]}, (outcome.Failed, Status(4, 6))),
        (
            {("example.net", "MX"): [MX(0, "lan.example.net")], ("lan.example.net", "A"): ["10.0.0.1"]},
            (outcome.Failed, Status(4, 4)),
        ),
    ],
)
def test_answers_of_dns(records: dict[Any, Any], expected: tuple[type, Status]) -> None:
    relay = Relay(records)
    found = relay.outcome()
    assert not isinstance(found, outcome.Delivered)
    assert (type(found), found.status) == expected
    assert relay.dialler.dialled == []


# ------------------------------------------------------------ several recipients


def test_results_by_recipient_in_one_transaction() -> None:
    steps = [([ACCEPTED, REJECTED, ACCEPTED], None)]
    relay = Relay(scripts={"mx1.example.net": [steps]})
    kinds = [type(found) for found in relay.start("a", "b", "c")]
    assert kinds == [outcome.Delivered, outcome.Failed, outcome.Delivered]
    assert len(relay.dialler.made[0].sent) == 1


def test_recipients_over_the_limit_of_a_transaction_get_another_one() -> None:
    steps = [([ACCEPTED, UNTRIED, UNTRIED], None), ([ACCEPTED, UNTRIED], None)]
    relay = Relay(scripts={"mx1.example.net": [steps]})
    assert [type(found) for found in relay.start("a", "b", "c")] == [outcome.Delivered] * 3
    sent = [[one.address for one in mail.recipients] for mail, _ in relay.dialler.made[0].sent]
    assert sent == [
        ["a@example.net", "b@example.net", "c@example.net"],
        ["b@example.net", "c@example.net"],
        ["c@example.net"],
    ]


def test_what_was_answered_survives_a_drop() -> None:
    drops = [([ACCEPTED, REJECTED, UNTRIED, UNTRIED], LOST)]
    relay = Relay(scripts={"mx1.example.net": [drops, unusable("mx1.example.net: refused")]})
    kinds = [type(found) for found in relay.start("a", "b", "c", "d")]
    # After progress the first host is tried again.
    assert relay.dialler.names == ["mx1.example.net", "mx1.example.net", "mx2.example.net"]
    assert kinds == [outcome.Delivered, outcome.Failed, outcome.Delivered, outcome.Delivered]
    assert [one.address for one in relay.dialler.made[1].sent[0][0].recipients] == [
        "c@example.net",
        "d@example.net",
    ]


def test_a_server_that_hangs_up_after_each_recipient_does_not_hold_an_attempt() -> None:
    drops = [[([ACCEPTED] + [UNTRIED] * (count - 1), LOST)] for count in range(30, 0, -1)]
    relay = Relay(scripts={"mx1.example.net": drops})
    kinds = [type(found) for found in relay.start(*(f"r{number}" for number in range(30)))]
    assert kinds == [outcome.Delivered] * 20 + [outcome.Deferred] * 10


def test_other_heads_and_other_reverse_paths_are_other_messages() -> None:
    relay = Relay()
    recipients = [
        recipient("a", 1, head=b"X: 1\r\n", notify="NEVER", orcpt="rfc822;z@example.org"),
        recipient("b", 2, head=b"X: 2\r\n"),
        recipient("c", 3, head=b"X: 1\r\n"),
        recipient("d", 4, head=b"X: 1\r\n", reverse_path=""),
    ]
    assert [type(found) for found in relay.start(*recipients)] == [outcome.Delivered] * 4
    [connection] = relay.dialler.made
    assert [
        (mail.reverse_path, "".join(one.address[0] for one in mail.recipients), content[:6])
        for mail, content in connection.sent
    ] == [
        ("alice@example.org", "ac", b"X: 1\r\n"),
        ("alice@example.org", "b", b"X: 2\r\n"),
        ("", "d", b"X: 1\r\n"),
    ]
    mail, content = connection.sent[0]
    assert (mail.recipients[0].notify, mail.recipients[0].orcpt) == ("NEVER", "rfc822;z@example.org")
    assert mail.size == len(content) == len(TEXT) + 6


# ------------------------------------------------------------ errors of this server


def test_an_error_of_this_server_does_not_count() -> None:
    relay = Relay(scripts={"mx1.example.net": [StorageError("no descriptors")]})
    with pytest.raises(StorageError):
        relay.outcome()
    relay = Relay(scripts={"mx1.example.net": [[MessageDamaged("torn")]]})
    with pytest.raises(MessageDamaged):
        relay.outcome()


def test_an_error_of_this_server_does_not_lose_what_is_done() -> None:
    steps = [([ACCEPTED, UNTRIED], None), StorageError("cannot read")]
    relay = Relay(scripts={"mx1.example.net": [steps]})
    [found] = relay.start("a", "b")
    assert isinstance(found, outcome.Delivered)


class Unreadable:
    size = len(TEXT)

    def chunks(self) -> Any:
        yield TEXT[:5]
        raise OSError(5, "Input/output error")


def test_a_content_that_cannot_be_read() -> None:
    relay = Relay()
    with pytest.raises(StorageError, match="Input/output error"):
        relay.outcome(content=Unreadable())
    assert relay.dialler.dialled == []


# ------------------------------------------------------------ the end


def test_stop_ends_what_connects_and_waits_for_what_is_being_sent() -> None:
    held = ScriptedConnection(MX1, [], held=True)
    relay = Relay(two_hosts() | two_hosts("example.com"), scripts={"mx1.example.net": [held]})
    sending = relay.start()
    relay.dialler.held = True
    connecting = relay.start(domain="example.com")
    stopped: list[object] = []
    Deferred.fromCoroutine(relay.engine.stop(5.0)).addCallback(stopped.append)
    [failure] = connecting
    assert isinstance(failure, Failure) and failure.check(StorageError)
    assert not sending and not stopped
    held.answer()
    assert isinstance(sending[0], outcome.Delivered) and stopped == [None]
    assert held.quits == 1
    with pytest.raises(StorageError, match="stopping"):
        relay.outcome()
    assert not relay.reactor.getDelayedCalls() and not relay.engine._pool._hops


def test_stop_ends_idle_connections() -> None:
    relay = Relay()
    relay.outcome()
    Deferred.fromCoroutine(relay.engine.stop(5.0))
    assert relay.dialler.made[0].quits == 1 and not relay.engine._pool._hops


def test_stop_gives_up_after_its_time() -> None:
    held = ScriptedConnection(MX1, [([ACCEPTED, UNTRIED], None)])
    relay = Relay(scripts={"mx1.example.net": [held]})
    held.held = True
    started = relay.start("a", "b")
    stopped: list[object] = []
    Deferred.fromCoroutine(relay.engine.stop(5.0)).addCallback(stopped.append)
    held.answer()  # for the first of the two
    relay.reactor.advance(5)
    assert stopped == [None]
    # The other one has no outcome: its attempt does not count.
    assert [type(found) for found in started] == [outcome.Delivered]
