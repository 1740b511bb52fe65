"""Who a client counts as, how many connections there may be, and the limits as the sessions ask for them."""

import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from twisted.internet.task import Clock

from mailserver.config.keys.limits import LimitsSection
from mailserver.config.schema.mail_kinds import Network
from mailserver.mail.rate import Rate
from mailserver.mail.verdict import Defer, Status
from mailserver.net.clients import client_key, readable_time
from mailserver.net.limits import ConnectionCounter, Limits
from tests.support.net.limits import NO_LIMITS, only_limits
from tests.support.net.limits_of_workers import ManyLimits

A, B = "192.0.2.1", "192.0.2.2"
ACCOUNT = "alice@example.org"


Makes = Callable[..., Any]


@pytest.fixture(params=[Limits, ManyLimits], ids=["one process", "several workers"])
def make(request: pytest.FixtureRequest) -> Makes:
    """Makes the limits of a server, from the settings and a clock."""
    maker: Makes = request.param
    return maker


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


@pytest.mark.parametrize(
    ("ip", "key"),
    [
        ("", ""),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:DB8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_what_a_client_counts_as(ip: str, key: str) -> None:
    assert client_key(ip) == key


@pytest.mark.parametrize(
    ("ip", "exempt"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::ffff:127.0.0.1", True),
        ("128.0.0.1", False),
        ("::1", True),
        ("::2", False),
        ("fe80::1%lo", True),
    ],
)
def test_exempt_clients_count_as_nobody(ip: str, exempt: bool, make: Makes) -> None:
    limits = make(only_limits(exempt=networks("127.0.0.0/8", "::1", "fe80::/10")), Clock().seconds)
    assert (limits.client(ip) == "") is exempt


def test_who_is_exempt_changes_with_a_reload(make: Makes) -> None:
    limits = make(NO_LIMITS, Clock().seconds)
    assert limits.client(A) == A
    limits.replace(only_limits(exempt=networks(A)))
    assert limits.client(A) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (1.0, "1 second"),
        (1.1, "2 seconds"),
        (120, "120 seconds"),
        (120.5, "3 minutes"),
        (7200, "120 minutes"),
        (7201, "3 hours"),
    ],
)
def test_a_time_to_wait_is_never_told_too_short(seconds: float, words: str) -> None:
    assert readable_time(seconds) == words


# ---------------------------------------------------------------- connections


def test_connections_of_one_address() -> None:
    connections = ConnectionCounter(only_limits(connections_per_address=2))
    assert connections.admit(A) is connections.admit(A) is None
    refusal = connections.admit(A)
    assert refusal is not None and refusal.key == "limits.connections_per_address"
    assert refusal == Defer(Status(7, 0), refusal.text, refusal.key)
    assert connections.admit(B) is None
    connections.release(A)
    assert connections.admit(A) is None


def test_connections_in_all() -> None:
    connections = ConnectionCounter(only_limits(connections=2))
    assert connections.admit(A) is connections.admit(B) is None
    refusal = connections.admit("192.0.2.3")
    assert refusal is not None and refusal.key == "limits.connections"
    assert connections.admit("") is None, "nobody is not counted"
    connections.release("")
    assert connections.admit("192.0.2.3") is not None
    connections.release(B)
    assert connections.admit("192.0.2.3") is None


def test_other_limits_are_in_force_at_once_and_the_count_stays() -> None:
    connections = ConnectionCounter(NO_LIMITS)
    assert [connections.admit(A) for _ in range(5)] == [None] * 5
    connections.replace(only_limits(connections_per_address=5))
    assert connections.admit(A) is not None
    connections.replace(only_limits(connections_per_address=6))
    assert connections.admit(A) is None
    connections.replace(only_limits(connections=1))
    assert connections.admit(B) is not None


class AnyOrder(RuleBasedStateMachine):
    """Connections come and go in any order; a Counter is the model."""

    clients = st.sampled_from(["", A, B, "2001:db8::/64"])

    def __init__(self) -> None:
        super().__init__()
        self.settings = NO_LIMITS
        self.connections = ConnectionCounter(self.settings)
        self.model: Counter[str] = Counter()

    @rule(total=st.integers(0, 5), each=st.integers(0, 3))
    def replace(self, total: int, each: int) -> None:
        self.settings = only_limits(connections=total, connections_per_address=each)
        self.connections.replace(self.settings)

    @rule(client=clients)
    def admit(self, client: str) -> None:
        each = self.settings.connections_per_address or 1000
        total = self.settings.connections or 1000
        room = self.model[client] < each and self.model.total() < total
        assert (self.connections.admit(client) is None) == (room or not client)
        if room and client:
            self.model[client] += 1

    @rule(client=clients)
    def release(self, client: str) -> None:
        """Also for somebody who was never admitted."""
        self.connections.release(client)
        self.model[client] = max(0, self.model[client] - 1)

    def teardown(self) -> None:
        assert self.connections.total == self.model.total()
        assert len(self.connections) == len(+self.model)
        for client in self.model.elements():
            self.connections.release(client)
        assert self.connections.total == len(self.connections) == 0


TestAnyOrder = AnyOrder.TestCase


# ---------------------------------------------------------------- as sessions ask

ONE_AN_HOUR = Rate(1, 3600)


@pytest.mark.parametrize("what", ["message", "recipient"])
@pytest.mark.parametrize(
    ("per", "first", "same", "other"),
    [
        ("address", (A, "", "b.example"), (A, ACCOUNT, "c.example"), (B, "", "b.example")),
        ("account", (A, ACCOUNT, "b.example"), (B, ACCOUNT, "c.example"), (A, "", "b.example")),
        ("sender_domain", (A, "", "b.example"), (B, ACCOUNT, "b.example"), (A, "", "c.example")),
    ],
)
def test_what_is_counted_for_whom(
    what: str, per: str, first: tuple[str, ...], same: tuple[str, ...], other: tuple[str, ...], make: Makes
) -> None:
    key = f"{what}s_per_{per}"
    ask = getattr(make(only_limits(**{key: ONE_AN_HOUR}), Clock().seconds), what)
    assert ask(*first) is None
    refusal = ask(*same)
    assert refusal is not None and refusal.key == f"limits.{key}"
    assert refusal.text.endswith("; please try again in 60 minutes")
    assert refusal.status == Status(7, 1)
    assert ask(*other) is None


def test_what_one_rule_refuses_no_other_counts(make: Makes) -> None:
    clock = Clock()
    both = only_limits(messages_per_address=Rate(2, 3600), messages_per_sender_domain=ONE_AN_HOUR)
    limits = make(both, clock.seconds)
    assert limits.message(A, "", "b.example") is None
    for _ in range(10):
        refusal = limits.message(A, "", "b.example")
        assert refusal is not None and refusal.key == "limits.messages_per_sender_domain"
    assert limits.message(A, "", "c.example") is None
    refusal = limits.message(A, "", "d.example")
    assert refusal is not None and refusal.key == "limits.messages_per_address"


def test_who_asks_for_too_many_that_do_not_exist_learns_no_more(make: Makes) -> None:
    clock = Clock()
    limits = make(only_limits(failed_recipients_per_address=Rate(3, 60)), clock.seconds)
    for _ in range(3):
        assert limits.recipient(A, "", "") is None
        limits.recipient_failed(A)
    refusal = limits.recipient(A, "", "")
    assert refusal is not None and refusal.key == "limits.failed_recipients_per_address"
    assert limits.recipient(B, "", "") is None
    for _ in range(100):
        limits.recipient_failed(A)
    clock.advance(60)
    assert limits.recipient(A, "", "") is None


def test_commands(make: Makes) -> None:
    clock = Clock()
    limits = make(only_limits(commands_per_address=Rate(2, 1)), clock.seconds)
    assert limits.commands(A, 1) is limits.commands(A, 1) is None
    refusal = limits.commands(A, 1)
    assert refusal is not None and refusal.key == "limits.commands_per_address"
    assert refusal.status == Status(7, 0)
    clock.advance(1)
    assert limits.commands(A, 1) is None


STRICTEST = only_limits(
    connections=1,
    connections_per_address=1,
    auth_failure_delay=1.0,
    auth_block_after=1,
    auth_block=900.0,
    error_delay=1.0,
    **{field.name: ONE_AN_HOUR for field in attrs.fields(LimitsSection) if field.type is Rate},
)


def test_nobody_is_neither_counted_nor_delayed() -> None:
    """Without a login and without a sender's domain, nothing but the address could be counted."""
    limits = Limits(attrs.evolve(STRICTEST, exempt=networks("127.0.0.0/8")), Clock().seconds)
    client = limits.client("127.0.0.1")
    for _ in range(50):
        assert limits.connections.admit(client) is None
        assert limits.commands(client, 1) is None
        assert limits.message(client, "", "") is None
        assert limits.recipient(client, "", "") is None
        limits.recipient_failed(client)
        assert limits.error_delay(client, 50) == 0
        assert limits.guard.begin(client, ACCOUNT) == limits.guard.failed(client, ACCOUNT) == 0
    assert limits.connections.total == len(limits.guard) == 0


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "2001:db8::9", ""])
@pytest.mark.parametrize("what", ["message", "recipient"])
@pytest.mark.parametrize(
    ("rule", "account", "domain"),
    [("account", ACCOUNT, ""), ("account", ACCOUNT, "b.example"), ("sender_domain", "", "b.example")],
)
def test_accounts_and_domains_are_counted_for_exempt_clients_too(
    ip: str, what: str, rule: str, account: str, domain: str, make: Makes
) -> None:
    settings = only_limits(
        **{f"{what}s_per_{rule}": ONE_AN_HOUR, f"{what}s_per_address": ONE_AN_HOUR},
        exempt=networks("127.0.0.0/8", "::1", "2001:db8::/32"),
    )
    limits = make(settings, Clock().seconds)
    take = getattr(limits, what)
    assert take(limits.client(ip), account, domain) is None
    refusal = take(limits.client(ip), account, domain)
    assert refusal is not None and refusal.key == f"limits.{what}s_per_{rule}"
    refusal = take(limits.client(A), account, domain)
    assert refusal is not None and refusal.key == f"limits.{what}s_per_{rule}", "one count for all clients"
    assert take(limits.client(ip), "", "") is None, "the address is not counted"


def test_without_settings_nothing_is_limited(make: Makes) -> None:
    limits = make(NO_LIMITS, Clock().seconds)
    for _ in range(1000):
        assert limits.connections.admit(A) is None
        assert limits.commands(A, 1) is None
        assert limits.message(A, ACCOUNT, "b.example") is None
        assert limits.recipient(A, ACCOUNT, "b.example") is None
        limits.recipient_failed(A)
        assert limits.error_delay(A, 50) == 0
        assert limits.guard.failed(A, ACCOUNT) == limits.guard.begin(A, ACCOUNT) == 0


@pytest.mark.parametrize(("errors", "delay"), [(1, 0), (3, 0), (4, 1.5), (50, 1.5)])
def test_from_the_fourth_wrong_command_on_answers_are_slow(errors: int, delay: float) -> None:
    limits = Limits(only_limits(error_delay=1.5), Clock().seconds)
    assert limits.error_delay(A, errors) == delay


def test_a_reload_reaches_every_part(make: Makes) -> None:
    limits = make(NO_LIMITS, Clock().seconds)
    assert limits.connections.admit(A) is limits.message(A, "", "") is None
    limits.guard.failed(A, ACCOUNT)
    limits.replace(STRICTEST)
    assert limits.connections.admit(A) is not None
    assert limits.message(A, "", "") is None, "what had no limit was not counted"
    assert limits.message(A, "", "") is not None
    assert limits.guard.failed(A, ACCOUNT) == 2
    assert limits.guard.blocked(A, ACCOUNT)
    assert limits.error_delay(A, 4) == 1
