"""Where mail for a domain goes: routes, the smarthost, MX hosts. What its connection needs: logins, TLS."""

from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed

from mailserver.dns.records import MX
from mailserver.errors import DNSFailure
from mailserver.mail import outcome
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement
from mailserver.mail.verdict import Status
from tests.support.delivery.relaying import Relay, ScriptedConnection, two_hosts, unusable

RECORDS = {
    ("smtp.example.com", "A"): ["192.0.2.5"],
    ("smtp.example.com", "AAAA"): ["2001:db8::5"],
    **two_hosts(),
}
BOTH = ("2001:db8::5", "192.0.2.5")


@pytest.mark.parametrize(
    ("options", "expected", "protocol"),
    [
        ({}, RelayHost("mx1.example.net", ("198.41.0.4",)), "smtp"),
        ({"smarthost": "smtp.example.com:587"}, RelayHost("smtp.example.com", BOTH, 587), "smtp"),
        (
            {"smarthost": "SMTP.example.com:465"},
            RelayHost("smtp.example.com", BOTH, 465, implicit_tls=True),
            "smtp",
        ),
        (
            {"smarthost": "smtps:[2001:db8::5]:2465"},
            RelayHost("2001:db8::5", ("2001:db8::5",), 2465, implicit_tls=True),
            "smtp",
        ),
        ({"smarthost": "lmtp:192.0.2.1:465"}, RelayHost("192.0.2.1", ("192.0.2.1",), 465), "lmtp"),
        (
            {"smarthost": "smtp.example.com:587", "routes": {"example.net": "[::1]:2525"}},
            RelayHost("::1", ("::1",), 2525),
            "smtp",
        ),
        ({"routes": {"example.net": "10.0.0.1:25"}}, RelayHost("10.0.0.1", ("10.0.0.1",)), "smtp"),
        ({"routes": {"example.net": "localhost:25"}}, RelayHost("localhost", ("127.0.0.1", "::1")), "smtp"),
        ({"routes": {"example.net": "lmtp:[::1]:24"}}, RelayHost("::1", ("::1",), 24), "lmtp"),
        ({"routes": {"example.net": "unix:/run/s"}}, RelayHost("localhost", path="/run/s"), "smtp"),
        ({"routes": {"example.net": "lmtp:unix:/run/s"}}, RelayHost("localhost", path="/run/s"), "lmtp"),
    ],
)
def test_the_next_hop(options: dict[str, Any], expected: RelayHost, protocol: str) -> None:
    relay = Relay(RECORDS, **options)
    assert isinstance(relay.outcome(), outcome.Delivered)
    [dialled] = relay.dialler.dialled
    assert (dialled.host, dialled.settings.protocol) == (expected, protocol)
    assert dialled.requirement == TLSRequirement(TLSLevel.OPPORTUNISTIC, "relay.tls")


@pytest.mark.parametrize(
    ("domain", "name", "address"),
    [("[192.0.9.1]", "192.0.9.1", "192.0.9.1"), ("[IPv6:2606:4700::1]", "2606:4700::1", "2606:4700::1")],
)
def test_an_address_literal(domain: str, name: str, address: str) -> None:
    relay = Relay()
    assert isinstance(relay.outcome(domain=domain), outcome.Delivered)
    assert relay.dialler.dialled[0].host == RelayHost(name, (address,))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({("x", "A"): []}, Status(4, 4)),
        ({("smtp.example.com", "A"): DNSFailure("x"), ("smtp.example.com", "AAAA"): []}, Status(4, 3)),
    ],
)
def test_a_smarthost_without_an_address(records: Any, expected: Status) -> None:
    found = Relay(records, smarthost="smtp.example.com:587").outcome()
    assert isinstance(found, outcome.Deferred), "the administrator can mend that"
    assert (found.status, found.unreachable) == (expected, True)


def test_a_smarthost_with_one_kind_of_address_that_dns_does_not_answer() -> None:
    records = {("smtp.example.com", "A"): ["192.0.2.5"], ("smtp.example.com", "AAAA"): DNSFailure("x")}
    relay = Relay(records, smarthost="smtp.example.com:587")
    assert isinstance(relay.outcome(), outcome.Delivered)


def test_a_reload_counts_for_the_next_attempt() -> None:
    relay = Relay(RECORDS)
    relay.outcome()
    relay.reload(smarthost="smtp.example.com:587")
    relay.outcome()
    assert relay.dialler.names == ["mx1.example.net", "smtp.example.com"]


# ------------------------------------------------------------ the login


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("hunter2\nanother line\n")
    path.chmod(0o640)
    return path


@pytest.mark.parametrize(
    ("smarthost", "level", "plain"),
    [("smtp.example.com:587", "verified", False), ("localhost:587", "opportunistic", True)],
)
def test_a_login_needs_verified_tls_unless_it_stays_here(
    password_file: Path, smarthost: str, level: str, plain: bool
) -> None:
    relay = Relay(RECORDS, smarthost=smarthost, smarthost_user="alice", smarthost_password_file=password_file)
    relay.outcome()
    [dialled] = relay.dialler.dialled
    credentials = dialled.settings.credentials
    assert credentials is not None
    assert (credentials.name, credentials.password) == ("alice", "hunter2")
    assert (dialled.requirement.level.value, dialled.settings.plaintext_auth) == (level, plain)
    # Nobody logs in at the server of a route.
    relay.reload(routes={"example.net": "192.0.2.9:25"}, smarthost=smarthost, smarthost_user="alice")
    relay.outcome()
    assert relay.dialler.dialled[-1].settings.credentials is None


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (b"hunter2\n", 0o644, "other users can read"),
        (b"hunter2\n", 0o602, "other users can read"),
        (b"\nhunter2\n", 0o600, "the first line of"),
        (b"hunter2\xff\n", 0o600, "the first line of"),
        (None, 0, "No such file"),
    ],
)
def test_a_password_file_that_cannot_be_used(
    tmp_path: Path, content: bytes | None, mode: int, text: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    relay = Relay(RECORDS, smarthost="localhost:587", smarthost_user="alice", smarthost_password_file=path)
    found = relay.outcome()
    assert isinstance(found, outcome.Deferred) and found.unreachable
    assert text in found.text and str(path) in found.text and "hunter2" not in str(found)
    assert found.rule == "relay.smarthost_password_file" and relay.dialler.dialled == []


# ------------------------------------------------------------ the TLS policy


@attrs.define
class Policy:
    """Answers for each host, and remembers what it is told."""

    answers: dict[str, Any]
    asked: list[Any] = attrs.field(factory=list)
    told: list[Any] = attrs.field(factory=list)

    def policy_for(self, domain: str, host: str, secure: bool) -> Deferred[TLSRequirement]:
        self.asked.append((domain, host, secure))
        answer = self.answers[host]
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def connected(self, domain: str, host: str, requirement: TLSRequirement, problem: str) -> None:
        self.told.append((domain, host, requirement, problem))


VERIFIED = TLSRequirement(TLSLevel.VERIFIED, "MTA-STS")


def test_the_policy_decides_for_each_mx_host() -> None:
    records = {
        ("example.net", "MX"): [MX(number, f"{name}.example.net") for number, name in enumerate("abcd")],
        **{(f"{name}.example.net", "A"): ["198.41.0.4"] for name in "abcd"},
    }
    policy = Policy(
        {
            "a.example.net": attrs.evolve(VERIFIED, refused="not a host of the policy"),
            "b.example.net": DNSFailure("no answer"),
            "c.example.net": VERIFIED,
            "d.example.net": TLSRequirement(TLSLevel.OPPORTUNISTIC, "relay.tls"),
        }
    )
    expired = unusable("c.example.net: expired", tls_failed=True, tls_problem="certificate-expired")
    last = ScriptedConnection("d", [], tls_problem="starttls-not-supported")
    relay = Relay(records, {"c.example.net": [expired], "d.example.net": [last]}, policy=policy)
    relay.resolver.secure = {"example.net", "c.example.net"}
    assert isinstance(relay.outcome(), outcome.Delivered)
    assert relay.dialler.names == ["c.example.net", "d.example.net"]
    assert relay.dialler.dialled[0].requirement == VERIFIED
    assert [(host, secure) for _, host, secure in policy.asked] == [
        ("a.example.net", False), ("b.example.net", False), ("c.example.net", True), ("d.example.net", False),
    ]  # fmt: skip
    assert [(host, problem) for _, host, _, problem in policy.told] == [
        ("c.example.net", "certificate-expired"), ("d.example.net", "starttls-not-supported"),
    ]  # fmt: skip


def test_a_domain_whose_only_host_the_policy_refuses() -> None:
    refusal = attrs.evolve(VERIFIED, refused="no")
    policy = Policy({"mx1.example.net": refusal, "mx2.example.net": refusal})
    found = Relay(policy=policy).outcome()
    assert found == outcome.Deferred(
        Status(7, 0), "mx2.example.net: no", host="mx2.example.net", unreachable=True
    )


def test_the_policy_is_not_asked_about_routes() -> None:
    policy = Policy({})
    relay = Relay(RECORDS, policy=policy, smarthost="smtp.example.com:587", tls="required")
    relay.outcome()
    assert relay.dialler.dialled[0].requirement == TLSRequirement(TLSLevel.REQUIRED, "relay.tls")
    assert policy.asked == policy.told == []
