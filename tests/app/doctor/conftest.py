"""An installation without trouble, in a folder of each test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dns_zone import DnsZone
from tests.support.doctor.site import DoctorSite, Template
from tests.support.real_reactor import real_reactor


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    """Its authority counts as one of the system."""
    with pytest.MonkeyPatch.context() as patch, Template(tmp_path_factory.mktemp("doctor")) as template:
        patch.setenv("SSL_CERT_FILE", str(template.authority.path))
        for name in [name for name in os.environ if name.startswith("MAILSERVER__")]:
            patch.delenv(name)
        yield template


@pytest.fixture
def site(template: Template, tmp_path: Path) -> Iterator[DoctorSite]:
    with DnsZone() as zone, real_reactor() as reactor:
        yield DoctorSite(tmp_path, template, reactor, zone)
