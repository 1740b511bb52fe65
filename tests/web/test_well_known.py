"""The files for mail programs and other servers."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from mailserver.config.loader import load
from mailserver.delivery.tls_policy.sts_policy import parse_policy
from mailserver.web.well_known import AUTOCONFIG, AUTODISCOVER, STS, ClientServer, client_servers
from tests.support.web import WebServer, web_server

ASKED = (
    b'<?xml version="1.0"?><Autodiscover><Request>'
    b"<EMailAddress>alice@%b</EMailAddress></Request></Autodiscover>"
)
LISTENERS = """
[tls]
certificate = "a.pem"
private_key = "b.pem"
[[listen]]
protocol = "submission"
endpoint = "tcp:587"
[[listen]]
protocol = "submission"
endpoint = "tcp:465"
tls = "implicit"
[[listen]]
protocol = "pop3"
endpoint = "tcp6:995"
tls = "implicit"
[[listen]]
protocol = "pop3"
endpoint = "tcp:110:interface=127.0.0.1"
[[listen]]
protocol = "smtp"
endpoint = "tcp:25"
[[listen]]
protocol = "submission"
endpoint = "tcp:0"
"""


def test_servers_for_mail_programs(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(LISTENERS)
    assert client_servers(load(tmp_path / "m.toml").listen) == [
        ClientServer("smtp", 465, "SSL"),
        ClientServer("pop3", 995, "SSL"),
        ClientServer("smtp", 587, "STARTTLS"),
    ]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (AUTOCONFIG[0], "example.org", 200),
        (AUTOCONFIG[0] + "?emailaddress=alice%40example.org", "mail.example.org", 200),
        (AUTOCONFIG[0] + "?emailaddress=alice%40other.example", "example.org", 404),
        (AUTOCONFIG[1], "autoconfig.example.org", 200),
        (AUTOCONFIG[1], "autoconfig.other.example", 421),
        (AUTOCONFIG[1], "mail.example.org", 404),
        (STS, "mta-sts.example.org", 404),
        ("/other", "example.org", 421),
    ],
)
def test_autoconfig(web: WebServer, target: str, host: str, status: int) -> None:
    answer = web.ask("GET", target, fields={"Host": host})
    assert answer.status == status
    if status == 200:
        root = ElementTree.fromstring(answer.body)
        assert root.findtext("emailProvider/domain") == "example.org"


@pytest.mark.parametrize(("domain", "status"), [(b"example.org", 200), (b"other.example", 404), (b"<", 404)])
def test_autodiscover(web: WebServer, domain: bytes, status: int) -> None:
    answer = web.ask("POST", AUTODISCOVER, body=ASKED % domain, fields={"Host": "autodiscover.example.org"})
    assert answer.status == status
    if status == 200:
        assert ElementTree.fromstring(answer.body).tag.endswith("}Autodiscover")
    assert web.ask("GET", AUTODISCOVER).status == 405


def test_the_policy_is_one(tmp_path: Path) -> None:
    with web_server(tmp_path, 'mta_sts = "enforce"') as web:
        answer = web.ask("GET", STS, fields={"Host": "mta-sts.example.org"})
        assert answer.fields["content-type"].startswith("text/plain")
        policy = parse_policy(answer.body)
        assert policy.mode == "enforce" and policy.mx == ("mail.example.org",)
        assert web.ask("GET", STS, fields={"Host": "mta-sts.other.example"}).status == 421
        assert web.ask("POST", STS, fields={"Host": "mta-sts.example.org"}).status == 405
