"""The handling that the sender asks for, on the way to other servers: REQUIRETLS, deadline, priority."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import succeed

from mailserver.mail import outcome
from mailserver.mail.handling import DeliveryDeadline, Handling
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement
from mailserver.mail.verdict import Status
from mailserver.smtp.sender.settings import OutgoingMail
from tests.support.delivery.relaying import ALL, Relay, ScriptedConnection, unusable

REQUIRED = Handling(require_tls=True)
OFFERED = attrs.evolve(ALL, require_tls=True)


def offering(extensions: Any = OFFERED, problem: str | None = "") -> ScriptedConnection:
    return ScriptedConnection("mx", [], extensions, problem)


class MTASTS:
    """A policy of the domain: verified TLS for the hosts it lists."""

    def __init__(self, level: TLSLevel = TLSLevel.VERIFIED) -> None:
        self.level = level

    def policy_for(self, domain: str, host: str, secure: bool) -> Any:
        return succeed(TLSRequirement(self.level, "MTA-STS"))

    def connected(self, *result: Any) -> None:
        pass


def sent(relay: Relay) -> list[OutgoingMail]:
    return [mail for connection in relay.dialler.made for mail, _ in connection.sent]


# ---------------------------------------------------------------- REQUIRETLS


def test_the_host_offers_requiretls() -> None:
    relay = Relay(scripts={"mx1.example.net": [offering()]}, policy=MTASTS())
    assert isinstance(relay.outcome(handling=REQUIRED), outcome.Delivered)
    assert [mail.require_tls for mail in sent(relay)] == [True]
    assert [one.requirement.level for one in relay.dialler.dialled] == [TLSLevel.VERIFIED]


def test_the_next_host_offers_requiretls() -> None:
    first = offering(ALL)
    relay = Relay(scripts={"mx1.example.net": [first], "mx2.example.net": [offering()]}, policy=MTASTS())
    assert isinstance(relay.outcome(handling=REQUIRED), outcome.Delivered)
    assert (first.sent, first.quits, len(sent(relay))) == ([], 1, 1)


NO_TLS = unusable("mx: no STARTTLS", tls_problem="starttls-not-supported")
BAD_NAME = unusable("mx: not its certificate", tls_failed=True)
REFUSES = unusable("mx: connection refused")


@pytest.mark.parametrize(
    ("first", "second", "kind", "status"),
    [
        (offering(ALL), offering(ALL), outcome.Failed, Status(7, 30)),
        (offering(ALL), NO_TLS, outcome.Failed, Status(7, 10)),
        (BAD_NAME, NO_TLS, outcome.Failed, Status(7, 10)),
        (BAD_NAME, REFUSES, outcome.Deferred, Status(4, 1)),
        (REFUSES, offering(ALL), outcome.Deferred, None),
    ],
)
def test_no_host_may_take_the_message(first: Any, second: Any, kind: Any, status: Status | None) -> None:
    """RFC 8689 section 4.2.1. As long as a host may do it later, the message waits."""
    relay = Relay(scripts={"mx1.example.net": [first], "mx2.example.net": [second]}, policy=MTASTS())
    found = relay.outcome(handling=REQUIRED)
    assert isinstance(found, kind)
    assert status is None or found.status == status
    assert not getattr(found, "unreachable", False), "other messages may go there"
    assert sent(relay) == []


def test_nothing_protects_the_way() -> None:
    """No DNSSEC, and no policy that requires a valid certificate: the MX hosts may be anybody's."""
    relay = Relay(policy=MTASTS(TLSLevel.OPPORTUNISTIC))
    found = relay.outcome(handling=REQUIRED)
    assert isinstance(found, outcome.Failed) and found.status == Status(7, 10)
    assert relay.dialler.dialled == []


def test_a_route_has_verified_tls_and_connections_of_its_own() -> None:
    scripts: dict[str, Any] = {"mx.isp.example": [offering(), offering()]}
    relay = Relay(scripts=scripts, routes={"example.net": "mx.isp.example:25"})
    relay.resolver.records[("mx.isp.example", "A")] = ["198.41.0.4"]
    for handling, level in ((Handling(), TLSLevel.OPPORTUNISTIC), (REQUIRED, TLSLevel.VERIFIED)):
        assert isinstance(relay.outcome(handling=handling), outcome.Delivered)
        assert relay.dialler.dialled[-1].requirement.level is level
    assert [mail.require_tls for mail in sent(relay)] == [False, True]


@pytest.mark.parametrize(
    ("connection", "required"),
    [(offering(), True), (offering(problem=None), False), (offering(ALL), False)],
)
def test_a_report_goes_to_any_host(connection: ScriptedConnection, required: bool) -> None:
    """RFC 8689 section 5: it asks for REQUIRETLS if that is possible."""
    relay = Relay(scripts={"mx1.example.net": [connection]})
    assert isinstance(relay.outcome(handling=REQUIRED, sender=""), outcome.Delivered)
    assert [mail.require_tls for mail in sent(relay)] == [required]


# ---------------------------------------------------------------- TLS-Required: No

WAIVED = b"TLS-Required: No\r\n"


@pytest.mark.parametrize(
    ("header", "waived"),
    [
        (WAIVED, True),
        (b"Subject: x\r\ntls-required:\r\n NO \r\nTo: y\r\n", True),
        (WAIVED + WAIVED, False),
        (b"TLS-Required: Yes\r\n", False),
        (b"X-TLS-Required: No\r\n", False),
        (b"Subject: x\r\n TLS-Required: No\r\n", False),
        (b"\r\n" + WAIVED, False),
    ],
)
@pytest.mark.parametrize("more", [0, 100_000])
def test_the_sender_waives_the_tls_of_the_domain(header: bytes, waived: bool, more: int) -> None:
    """RFC 8689 section 3: neither MTA-STS nor DANE prevents the delivery."""
    relay = Relay(policy=MTASTS())
    text = header + b"\r\n" + b"x" * more
    assert isinstance(relay.outcome(text=text), outcome.Delivered)
    (dialled,) = relay.dialler.dialled
    assert dialled.requirement.level is (TLSLevel.OPPORTUNISTIC if waived else TLSLevel.VERIFIED)


def test_requiretls_and_the_configuration_are_not_waived() -> None:
    relay = Relay(scripts={"mx1.example.net": [offering()]}, policy=MTASTS())
    assert isinstance(relay.outcome(text=WAIVED + b"\r\n", handling=REQUIRED), outcome.Delivered)
    relay = Relay(tls_domains={"example.net": "required"})
    assert isinstance(relay.outcome(text=WAIVED + b"\r\n"), outcome.Delivered)
    (dialled,) = relay.dialler.dialled
    assert dialled.requirement.level is TLSLevel.REQUIRED


def test_a_connection_without_the_tls_of_the_domain_is_for_no_other_message() -> None:
    scripts: dict[str, Any] = {"mx1.example.net": [offering(), offering()]}
    relay = Relay(scripts=scripts, policy=MTASTS())
    for text in (WAIVED + b"\r\n", b"Subject: x\r\n\r\n"):
        assert isinstance(relay.outcome(text=text), outcome.Delivered)
    levels = [one.requirement.level for one in relay.dialler.dialled]
    assert levels == [TLSLevel.OPPORTUNISTIC, TLSLevel.VERIFIED]


# ---------------------------------------------------------------- the others


@pytest.mark.parametrize(
    ("seconds", "mode", "trace", "left"),
    [
        (90.5, "R", True, 90),
        (0.5, "R", False, 1),
        (-3.5, "N", False, -4),
        (1e12, "N", False, 999_999_999),
        (-1e12, "N", False, -999_999_999),
    ],
)
def test_the_next_server_gets_the_time_that_is_left(
    seconds: float, mode: Any, trace: bool, left: int
) -> None:
    relay = Relay()
    relay.outcome(handling=Handling(4, deadline=DeliveryDeadline(1e9 + seconds, mode, trace)))
    (mail,) = sent(relay)
    assert (mail.priority, mail.deadline, mail.returned, mail.traced) == (4, left, mode == "R", trace)


def test_lmtp_is_the_end_of_the_way() -> None:
    relay = Relay(routes={"example.net": "lmtp:unix:/run/lmtp"})
    handling = Handling(deadline=DeliveryDeadline(2e9, "R"), require_tls=True)
    assert isinstance(relay.outcome(handling=handling), outcome.Delivered)
    (mail,) = sent(relay)
    assert (mail.deadline, mail.require_tls) == (None, False)
