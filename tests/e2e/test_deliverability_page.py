"""docs/deliverability.md is done in its order: keys, configuration, records in a zone on loopback, check."""

import re
from pathlib import Path
from typing import get_args

import pytest

from mailserver.commands.zone.published import RecordStatus
from mailserver.config.loader import load
from tests.support.dns_zone import DnsZone, printed_records
from tests.support.docs.blocks import blocks
from tests.support.docs.commands import administer
from tests.support.e2e.server import ROOT, Makes, configuration
from tests.support.tls_material import make_ca

PAGE = ROOT / "docs" / "deliverability.md"
SECTION = re.compile(r"\[\[dkim\]\]\n(?:\w+ = .*\n)+")
LISTEN = (("submission", "tcp:0:interface=127.0.0.1", "implicit"),)


@pytest.mark.slow
def test_the_page_in_its_order(make_server: Makes, tmp_path: Path) -> None:
    issued = make_ca(tmp_path).issue("mail.example.org")
    with DnsZone("else.example A 192.0.2.1") as zone:
        tables = (
            f'[tls]\ncertificate = "{issued.certificate}"\nprivate_key = "{issued.private_key}"\n'
            f'[dns]\nservers = ["{zone.address}"]\n'
        )
        server = make_server(configuration(listen=LISTEN, tables=tables)).start()
        outputs = []
        for block in blocks(PAGE):
            if block.kind == "toml":
                file = tmp_path / "example.toml"
                file.write_text(block.text)
                load(file)
            if block.kind != "sh":
                continue
            if "--zone" in block.text:  # the step before is to add what "make" has printed
                server.configure("\n".join([server.config.read_text(), *SECTION.findall(outputs[-1])]))
            outputs.append(administer(block, server, tmp_path))
            if "--zone" in block.text:
                # the step after is to publish it, and to have the name of the address set
                zone.add(*printed_records((tmp_path / "example.org.zone").read_text()))
        check, reload, doctor = outputs[-3:]
        assert "All needed records are right." in check
        assert reload == "configuration reloaded\n"
        assert "[certificate-chain]" in doctor and "[dns-" not in doctor
        server.stop()


@pytest.mark.parametrize("status", get_args(RecordStatus))
def test_the_page_has_each_state(status: str) -> None:
    assert re.search(rf"^\| `{status}` \|", PAGE.read_text(), re.MULTILINE)
