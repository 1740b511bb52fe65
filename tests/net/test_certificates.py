"""Certificates that are renewed while the server runs: files that change under a Clock."""

import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from mailserver.net.certificates import DAY, HOUR, INTERVAL, Certificates, Sources
from mailserver.net.pairs import PairFiles, Unusable
from tests.support.net.handshakes import client_context, shake_hands
from tests.support.tls_material import Authority, Issued, make_ca, make_key, write_key

Events = Sequence[Mapping[str, Any]]


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return make_ca(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> Iterator[Events]:
    with capturedLogs() as captured:
        yield captured


def sources_of(pair: Issued) -> Sources:
    return Sources((PairFiles("tls", pair.certificate, pair.private_key),))


class Site:
    """A folder with the files of one pair, what serves it, and a client that looks at it."""

    def __init__(self, ca: Authority, clock: Clock) -> None:
        self.ca = ca
        self.certificate = ca.folder / "fullchain.pem"
        self.private_key = ca.folder / "privkey.pem"
        self.first = ca.issue("mail.example.org")
        self.first.put(self.certificate, self.private_key)
        self.sources = sources_of(Issued(self.certificate, self.private_key))
        self.certificates = Certificates(self.sources, clock)
        self.certificates.startService()

    def shown(self, name: str = "mail.example.org", service: str = "smtp") -> bytes | None:
        talk = shake_hands(self.certificates.context_factory_for(service), client_context(self.ca.path), name)
        return talk.client.getpeercert(binary_form=True)


@pytest.fixture
def site(ca: Authority, clock: Clock) -> Iterator[Site]:
    site = Site(ca, clock)
    yield site
    site.certificates.stopService()
    assert not clock.getDelayedCalls()


def look(clock: Clock, times: int = 1) -> None:
    clock.pump([INTERVAL] * times)


def told(events: Events, level: Any = LogLevel.error) -> list[str]:
    return [formatEvent(dict(event)) for event in events if event["log_level"] == level]


def test_a_renewed_pair_serves_the_next_connection(site: Site, clock: Clock, events: Events) -> None:
    talk = shake_hands(site.certificates.context_factory_for("smtp"), client_context(site.ca.path))
    renewed = site.ca.issue("mail.example.org")
    renewed.put(site.certificate, site.private_key)
    assert site.shown() == site.first.der
    look(clock)
    assert site.shown() == renewed.der
    assert site.shown(service="pop3") == renewed.der
    assert talk.say(b"still here") == b"still here"
    assert not told(events)
    (line,) = told(events, LogLevel.info)
    assert line.startswith("certificate in force: mail.example.org, valid until ")


def test_nothing_is_read_while_nothing_changes(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.certificates.context_factory_for("smtp")
    monkeypatch.setattr(Path, "open", None)
    monkeypatch.setattr(os, "open", None)
    look(clock, 3)
    site.certificates.prepare(site.sources)()
    assert site.certificates.context_factory_for("smtp") is before


@pytest.mark.parametrize("certificate_first", [True, False])
def test_the_files_may_be_replaced_one_after_the_other(
    site: Site, clock: Clock, events: Events, certificate_first: bool
) -> None:
    renewed = site.ca.issue("mail.example.org")
    steps = [(renewed.certificate, site.certificate), (renewed.private_key, site.private_key)]
    for source, target in steps if certificate_first else reversed(steps):
        assert site.shown() == site.first.der
        source.replace(target)
        look(clock)
    site.first = Issued(site.certificate, site.private_key)
    assert site.shown() == site.first.der
    assert not told(events)


def test_links_may_be_switched(ca: Authority, clock: Clock) -> None:
    # as certbot does: live/mail.example.org/fullchain.pem -> ../../archive/mail.example.org/fullchain2.pem
    live, archive = ca.folder / "live", ca.folder / "archive"
    live.mkdir()
    archive.mkdir()
    issued = [ca.issue("mail.example.org") for _ in range(2)]
    for number, one in enumerate(issued):
        one.put(archive / f"fullchain{number}.pem", archive / f"privkey{number}.pem")
    # Nothing but the target differs.
    for path in archive.iterdir():
        os.utime(path, (1, 1))

    def switch(number: int) -> None:
        for name in ("fullchain", "privkey"):
            new = live / f"{name}.new"
            new.symlink_to(f"../archive/{name}{number}.pem")
            new.replace(live / f"{name}.pem")

    switch(0)
    certificates = Certificates(sources_of(Issued(live / "fullchain.pem", live / "privkey.pem")), clock)
    certificates.startService()
    for number, one in enumerate(issued):
        switch(number)
        look(clock)
        talk = shake_hands(certificates.context_factory_for("smtp"), client_context(ca.path))
        assert talk.client.getpeercert(binary_form=True) == one.der
    certificates.stopService()


SPOIL: dict[str, Callable[[Site], Any]] = {
    "another key": lambda site: write_key(site.private_key, make_key()),
    "a key for everybody": lambda site: site.private_key.chmod(0o644),
    "half a certificate": lambda site: site.certificate.write_bytes(site.certificate.read_bytes()[:200]),
    "no key": lambda site: site.private_key.unlink(),
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_a_broken_pair_is_refused_and_the_old_one_kept(
    site: Site, clock: Clock, events: Events, spoil: Any
) -> None:
    spoil(site)
    look(clock)
    assert not told(events), "it may be half of a renewal"
    look(clock, 5)
    (line,) = told(events)
    assert line.startswith(("tls.private_key: ", "tls.certificate: "))
    assert line.endswith("; the old certificate stays in force")
    assert site.shown() == site.first.der
    renewed = site.ca.issue("mail.example.org")
    site.private_key.unlink(missing_ok=True)
    renewed.put(site.certificate, site.private_key)
    look(clock)
    assert site.shown() == renewed.der


def test_a_broken_pair_that_is_put_right_again_needs_no_word(
    site: Site, clock: Clock, events: Events
) -> None:
    site.private_key.chmod(0o644)
    look(clock)
    site.private_key.chmod(0o600)
    look(clock, 3)
    assert not told(events) and site.shown() == site.first.der


def test_one_broken_pair_does_not_hold_up_the_others(site: Site, clock: Clock, events: Events) -> None:
    other = site.ca.issue("other.example.org")
    files = PairFiles("certificate[1]", other.certificate, other.private_key)
    site.certificates.prepare(Sources((*site.sources.pairs, files)))()
    SPOIL["another key"](site)
    renewed = site.ca.issue("other.example.org")
    renewed.put(other.certificate, other.private_key)
    look(clock, 2)
    assert site.shown() == site.first.der
    assert site.shown("other.example.org") == renewed.der
    assert len(told(events)) == 1


def test_files_that_change_while_they_are_read_are_read_again(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = [site.ca.issue("mail.example.org") for _ in range(2)]
    renewed[0].put(site.certificate, site.private_key)

    def read_slowly(pair: Any) -> Any:
        value = pair()
        monkeypatch.undo()
        renewed[1].put(site.certificate, site.private_key)
        return value

    watched = site.certificates._pairs[0]
    monkeypatch.setattr(watched, "_read", lambda read=watched._read: read_slowly(read))
    look(clock)
    assert site.shown() == site.first.der
    look(clock)
    assert site.shown() == renewed[1].der


def test_reload_is_at_once(site: Site) -> None:
    renewed = site.ca.issue("mail.example.org")
    renewed.put(site.certificate, site.private_key)
    site.certificates.prepare(site.sources)()
    assert site.shown() == renewed.der


def test_reload_puts_all_in_force_or_nothing(site: Site, ca: Authority) -> None:
    good, bad = ca.issue("good.example.org"), ca.issue("bad.example.org")
    write_key(bad.private_key, make_key())
    pairs = [
        PairFiles(f"certificate[{number}]", one.certificate, one.private_key)
        for number, one in enumerate((good, bad), 1)
    ]
    client_ca = ca.folder / "missing.pem"
    with pytest.raises(Unusable) as error:
        site.certificates.prepare(Sources((*site.sources.pairs, *pairs), client_ca))()
    assert [key for key, _ in error.value.problems] == ["certificate[2].private_key", "tls.client_ca"]
    assert site.certificates.context_factory_for("smtp").getContext().get_verify_mode() == 0
    site.certificates.prepare(Sources((*site.sources.pairs, pairs[0]), ca.path))()
    assert site.shown("good.example.org") == good.der
    assert site.shown() == site.first.der


def out_of_reach(hidden: Path, call: Callable[..., Any]) -> Callable[..., Any]:
    """A system call that may not look at a path."""

    def called(path: Path, *rest: Any, **options: Any) -> Any:
        if path == hidden:
            raise PermissionError(13, "Permission denied", str(path))
        return call(path, *rest, **options)

    return called


@pytest.mark.parametrize("number", [0, 1])
def test_files_out_of_reach_stay_in_force_and_a_reload_says_so(
    site: Site, clock: Clock, events: Events, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # as after privileges are dropped, with a folder that only root may enter
    hidden = (site.certificate, site.private_key)[number]
    monkeypatch.setattr(Path, "stat", out_of_reach(hidden, Path.stat))
    monkeypatch.setattr(os, "open", out_of_reach(hidden, os.open))
    look(clock, 4)
    (line,) = told(events)
    assert f'cannot read "{hidden}": Permission denied' in line
    with pytest.raises(Unusable, match="Permission denied"):
        site.certificates.prepare(site.sources)()
    assert site.shown() == site.first.der


@pytest.mark.parametrize("number", [0, 1])
def test_a_start_warns_of_files_that_it_cannot_read_any_more(
    ca: Authority, clock: Clock, events: Events, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    issued = ca.issue("mail.example.org")
    hidden = (issued.certificate, issued.private_key)[number]
    certificates = Certificates(sources_of(issued), clock)
    monkeypatch.setattr(os, "open", out_of_reach(hidden, os.open))
    certificates.startService()
    (line,) = told(events, LogLevel.warn)
    assert line.startswith(f"{hidden}: the server's user cannot read it (Permission denied) and cannot ")
    certificates.stopService()


# Lifetime of a certificate, days before its end, and how often a broken renewal is logged in the next days.
@pytest.mark.parametrize(
    ("lifetime", "left", "days", "lines"),
    [
        *((90, 30, 5, 5), (90, 30, 1, 1), (90, 6, 2, 2), (90, 2.9, 1, 24), (90, 0.5, 1, 24), (90, -3, 1, 24)),
        *((6, 5.9, 5, 5), (6, 0.4, 1, 24)),
    ],
)
def test_a_broken_renewal_is_logged_again(
    ca: Authority, clock: Clock, events: Events, lifetime: float, left: float, days: int, lines: int
) -> None:
    seldom = HOUR / 6
    issued = ca.issue("mail.example.org", begins=timedelta(days=left - lifetime), ends=timedelta(days=left))
    certificates = serve(issued, clock)
    issued.private_key.chmod(0o644)
    clock.pump([seldom] * round(days * DAY / seldom))
    found = told(events)
    assert len(found) == lines
    assert len(set(found)) == 1
    issued.private_key.chmod(0o640)
    clock.pump([seldom] * round(2 * DAY / seldom))
    assert len(told(events)) == lines
    certificates.stopService()


def serve(issued: Issued, clock: Clock) -> Certificates:
    """Certificates whose dates are judged by the clock, too."""
    began = time.time() - clock.seconds()
    certificates = Certificates(sources_of(issued), clock, lambda: began + clock.seconds())
    certificates.startService()
    return certificates


@pytest.mark.parametrize(
    ("lifetime", "left", "warned"),
    [
        (90, 16, ["in 13 days", "in 6 days", "in 2 days", "in 23 hours", "expired"]),
        (90, 10, ["in 9 days", "in 6 days", "in 2 days", "in 23 hours", "expired"]),
        (90, 2.5, ["in 2 days", "in 23 hours", "expired"]),
        (90, 0.9, ["in 21 hours", "expired"]),
        (90, -1, ["expired"]),
        (90, 60, []),
        (6, 5.9, ["in 47 hours", "in 23 hours", "in 9 hours", "in 2 hours", "expired"]),
        (30, 15, ["in 9 days", "in 4 days", "in 2 days", "in 16 hours", "expired"]),
    ],
)
def test_the_end_of_a_certificate(
    ca: Authority, clock: Clock, events: Events, lifetime: float, left: float, warned: list[str]
) -> None:
    issued = ca.issue("mail.example.org", begins=timedelta(days=left - lifetime), ends=timedelta(days=left))
    certificates = serve(issued, clock)
    for _ in range(17 * 24):
        clock.advance(HOUR)
    lines = told(events, LogLevel.warn)
    assert len(lines) == len(warned)
    for line, part in zip(lines, warned, strict=True):
        assert part in line and line.startswith(f"{issued.certificate}: the certificate ")
    renewed = ca.issue("mail.example.org", ends=timedelta(days=120))
    renewed.put(issued.certificate, issued.private_key)
    look(clock)
    assert len(told(events, LogLevel.warn)) == len(warned), "all is well again"
    certificates.stopService()


def test_authorities_of_clients_are_watched_too(ca: Authority, clock: Clock, tmp_path: Path) -> None:
    site = Site(ca, clock)
    people, others = make_ca(tmp_path), make_ca(tmp_path)
    site.certificates.prepare(Sources(site.sources.pairs, people.path))()
    alice = others.issue(mail=["alice@example.org"])
    client = client_context(ca.path)
    client.load_cert_chain(alice.certificate, alice.private_key)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        shake_hands(site.certificates.context_factory_for("smtp"), client)
    others.path.replace(people.path)
    look(clock)
    talk = shake_hands(site.certificates.context_factory_for("smtp"), client)
    assert talk.server.get_peer_certificate(as_cryptography=True) is not None
    site.certificates.stopService()


def test_an_expired_certificate_is_served_with_a_warning(ca: Authority, clock: Clock, events: Events) -> None:
    issued = ca.issue("mail.example.org", begins=timedelta(days=-3), ends=timedelta(days=-1))
    certificates = Certificates(sources_of(issued), clock)
    assert not events, "the configuration may only be looked at"
    certificates.startService()
    (line,) = told(events, LogLevel.warn)
    assert line.startswith(f"{issued.certificate}: the certificate has expired on ")
    client = client_context(ca.path)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        shake_hands(certificates.context_factory_for("smtp"), client)
    certificates.stopService()


def test_a_context_is_made_once_for_each_service(site: Site) -> None:
    give = site.certificates.context_factory_for
    assert give("smtp") is give("smtp")
    client = client_context(site.ca.path)
    session = shake_hands(give("smtp"), client).client.session
    assert shake_hands(give("smtp"), client, session=session).client.session_reused
    assert not shake_hands(give("pop3"), client, session=session).client.session_reused


def test_a_start_with_broken_files_says_all_that_is_wrong(ca: Authority, clock: Clock) -> None:
    pairs = tuple(
        PairFiles(key, ca.folder / f"{key}.pem", ca.folder / f"{key}-key.pem")
        for key in ("tls", "certificate[1]")
    )
    with pytest.raises(Unusable) as error:
        Certificates(Sources(pairs), clock)
    assert [key for key, _ in error.value.problems] == [
        "tls.certificate",
        "tls.private_key",
        "certificate[1].certificate",
        "certificate[1].private_key",
    ]
