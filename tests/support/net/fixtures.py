"""What the tests of this room share."""

from collections.abc import Callable, Iterator

import pytest
from twisted.internet.ssl import CertificateOptions
from twisted.logger import globalLogPublisher

from mailserver.net.pairs import PairFiles, read_pair
from mailserver.net.tls import server_options
from tests.support.fakes import stand_in
from tests.support.net.fakes import Journal
from tests.support.net.loop import Loop
from tests.support.tls_material import Authority, make_ca


@pytest.fixture
def journal() -> Iterator[Journal]:
    """The log while the test runs; a traceback in it that the test has not taken out fails the test."""
    journal = Journal()
    globalLogPublisher.addObserver(stand_in(journal.events.append))
    yield journal
    globalLogPublisher.removeObserver(stand_in(journal.events.append))
    assert journal.failures == []


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that has signed what ``tls`` shows."""
    return make_ca(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def tls(trusted: Authority) -> Callable[[], CertificateOptions]:
    """What a port with TLS gives each connection."""
    issued = trusted.issue("mail.example.org")
    options = server_options([read_pair(PairFiles("tls", issued.certificate, issued.private_key))])
    return lambda: options
