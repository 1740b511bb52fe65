"""Trouble with mail filters, the smarthost and routes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import maybeDeferred

from mailserver.app.doctor.findings import NotChecked
from tests.support.doctor.site import DoctorSite, findings, outline
from tests.support.far_sides.far_side import FarSide
from tests.support.milter import ScriptedFilter, options


@pytest.fixture
def milter(tmp_path: Path) -> Iterator[ScriptedFilter]:
    made = ScriptedFilter(tmp_path / "milter.sock")
    yield made
    made.close()


def test_filters(site: DoctorSite, milter: ScriptedFilter) -> None:
    site.configure(f'[policy]\nmilter = ["unix:{milter.path}"]')
    assert outline(site.run("mail filters")) == []
    assert milter.commands.startswith(b"O")
    milter.script = {b"O": options(version=9)}
    assert outline(site.run("mail filters")) == [("error", "filter-unusable", "policy.milter[1]")]
    milter.close()
    [found] = findings(site.run("mail filters"))
    assert found.kind == "filter-unusable" and "is deferred: no connection to" in found.text


def test_filters_elsewhere_are_not_asked_offline(site: DoctorSite) -> None:
    site.configure('[policy]\nmilter = ["filter.example:1234", "192.0.2.1:1", "127.0.0.1:9"]')
    site.offline = True
    first, second, third = site.run("mail filters")
    assert first == NotChecked("policy.milter[1]", "--offline")
    assert second == NotChecked("policy.milter[2]", "--offline")
    assert outline([third]) == [("error", "filter-unusable", "policy.milter[3]")]


@pytest.fixture
def smarthost(site: DoctorSite) -> Iterator[FarSide]:
    """A smarthost with one user; the configuration has it, and the password."""
    far = FarSide(reactor=site.reactor, users={"me": "secret"}, require_login=True)
    port = site.reactor.listenTCP(0, far, interface="127.0.0.1")
    (site.folder / "pw").write_text("secret\n")
    (site.folder / "pw").chmod(0o600)
    site.configure(
        f'[relay]\nsmarthost = "127.0.0.1:{port.getHost().port}"\nsmarthost_user = "me"\n'
        'smarthost_password_file = "pw"'
    )
    yield far
    site.reactor.wait(maybeDeferred(port.stopListening))


def test_a_smarthost(site: DoctorSite, smarthost: FarSide) -> None:
    assert outline(site.run("smarthost and routes")) == []
    smarthost.users["me"] = "another"
    [found] = findings(site.run("smarthost and routes"))
    assert (found.severity, found.kind, found.subject) == ("error", "smarthost-unusable", "relay.smarthost")
    assert "535" in found.text and "secret" not in found.text
    assert "relay.smarthost_password_file" in found.mend
    assert len(smarthost.sessions) == 2 and not smarthost.kept


def test_a_route_to_nowhere(site: DoctorSite) -> None:
    site.configure('[relay.routes]\n"far.example" = "127.0.0.1:9"\n"b.example" = "none.example:25"')
    assert outline(site.run("smarthost and routes")) == [
        ("error", "route-unusable", "relay.routes (far.example)"),
        ("error", "route-unusable", "relay.routes (b.example)"),
    ]
