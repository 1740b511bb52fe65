"""The TLS policies of other domains in the server: a reload changes them, reports go through the spool."""

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, succeed

from mailserver.app.report_sending import ReportSending
from mailserver.app.tls_policy import TLSPolicies
from mailserver.config.loader import load
from mailserver.delivery.smtp.configured_tls import ConfiguredTLS
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.mail.daily_report import DAY
from mailserver.mail.verdict import BAD_MAILBOX, Destination, Refuse, Routed
from tests.support.e2e.server import configuration
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor
from tests.support.resolvers import FakeResolver

REPORTS, GONE = Address("reports", "example.net"), Address("gone", "example.net")


class FakeSpool:
    """Keeps what is committed, and is its own message."""

    def __init__(self) -> None:
        self.messages: list[tuple[object, bytes]] = []

    def receive(self, envelope: object, trace: bytes) -> "FakeSpool":
        self._envelope, self._content = envelope, trace
        return self

    def write(self, data: bytes) -> Deferred[None]:
        self._content += data
        return succeed(None)

    def commit(self) -> Deferred[None]:
        self.messages.append((self._envelope, self._content))
        return succeed(None)


class FakeRouter:
    def route(self, address: Address) -> Deferred[Routed | Refuse]:
        if address == GONE:
            return succeed(Refuse(BAD_MAILBOX, "gone"))
        return succeed(Routed((Destination(address, address, remote=True),)))


def sending(spool: FakeSpool) -> ReportSending:
    sign = b"DKIM-Signature: x\r\n".__add__
    return ReportSending(stand_in(spool), stand_in(FakeRouter()), sign)


def configured(path: Path, *relay: str):
    path.write_text(configuration().replace("[relay]\n", "\n".join(["[relay]", *relay, ""])))
    return load(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mailserver.toml"


@pytest.fixture
def reactor() -> FakeReactor:
    return FakeReactor()


@pytest.fixture
def spool() -> FakeSpool:
    return FakeSpool()


@pytest.fixture
def build(path, reactor, spool):
    def make(*relay: str) -> TLSPolicies:
        resolver = FakeResolver(
            {("_smtp._tls.example.net", "TXT"): [f"v=TLSRPTv1;rua=mailto:{REPORTS},mailto:{GONE}".encode()]},
            reactor,
        )
        config = configured(path, *relay)
        config.data.mkdir(exist_ok=True)
        policies = TLSPolicies(config, stand_in(reactor), resolver, Disk(), sending(spool).send)
        policies.open()
        policies.startService()
        return policies

    return make


def use(policies: TLSPolicies) -> str:
    """Ask for a requirement, and report success."""
    policy = policies.policy(ConfiguredTLS("required", {}))
    found: list[object] = []
    policy.policy_for("example.net", "mx.example.net", False).addCallback(found.append)
    (requirement,) = stand_in(found)
    policy.connected("example.net", "mx.example.net", requirement, "")
    return requirement.level.value


def test_reports(build, reactor, spool):
    policies = build("tls_reports = true")
    use(policies)
    reactor.advance(DAY * 1.2)
    ((envelope, content),) = spool.messages
    assert envelope.reverse_path is None
    assert [destination.mailbox for destination in envelope.destinations] == [REPORTS]
    assert content.startswith(b"DKIM-Signature: x\r\nFrom: ")
    assert b"\r\nTLS-Report-Domain: example.net\r\n" in content
    policies.stopService()
    assert reactor.getDelayedCalls() == []


def test_no_address_of_a_report_is_known(spool):
    put = sending(spool).send("id", [GONE], b"x")
    with pytest.raises(StorageError, match="no address"):
        stand_in(put).result.raiseException()
    put.addErrback(lambda failure: None)


def test_a_reload(build, path, reactor, spool):
    policies = build()
    assert use(policies) == "required"
    reactor.advance(DAY * 1.2)
    assert spool.messages == []
    changed = configured(path, "tls_reports = true", "allow_private = true")
    Deferred.fromCoroutine(policies.prepare(changed)).addCallback(lambda commit: commit())
    use(policies)
    reactor.advance(DAY * 1.2)
    assert len(spool.messages) == 1
    assert policies._hosts.allow_private is True
    policies.stopService()


def test_a_folder_that_cannot_be_read(build, path):
    config = configured(path)
    (config.data / "mta-sts" / ".left").mkdir(parents=True)
    with pytest.raises(StorageError):
        build()
