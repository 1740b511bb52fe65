"""What good configurations come to."""

from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest

from mailserver.config.keys.auth import AuthSection, TokenSection
from mailserver.config.keys.dns import DnsSection
from mailserver.config.keys.limits import LimitsSection
from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.log import LogSection
from mailserver.config.keys.policy import DnsblSection, PolicySection
from mailserver.config.keys.pop3 import Pop3Section
from mailserver.config.keys.queue import QueueSection
from mailserver.config.keys.relay import RelaySection
from mailserver.config.keys.smtp import SmtpSection, SubmissionSection
from mailserver.config.keys.storage import StorageSection
from mailserver.config.keys.tls import TlsSection
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.mail.address import Address
from mailserver.mail.rate import Rate

SECTIONS = (
    *("storage", "auth", "token", "smtp", "submission", "limits"),
    *("relay", "dns", "policy", "queue", "pop3", "log"),
)
TLS = '[tls]\ncertificate = "fullchain.pem"\nprivate_key = "/keys/privkey.pem"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "mailserver.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "".join(f"[{name}]\n" for name in SECTIONS),
        "account = []\ncertificate = []\ndkim = []\ndnsbl = []\n",
    ],
)
def test_defaults(tmp_path: Path, text: str) -> None:
    config = load(write(tmp_path, text))
    assert config == Config()
    assert config.hostname == "localhost"
    assert config.domains == ("localhost",)
    assert config.data == Path("/var/lib/mailserver")
    assert (config.allow_root, config.stop_grace, config.postmaster) == (False, 5.0, None)
    assert (config.tls, config.certificates, config.workers) == (None, (), "auto")
    assert config.auth == AuthSection(mechanisms=("PLAIN", "LOGIN"), remember=300.0)
    assert config.token == TokenSection(key=None, jwks=None, issuer="", audience="", claim="email")
    assert config.submission == SubmissionSection(senders="own", hide_client=False, remove_bcc=False)
    assert config.log == LogSection(format="text")
    assert config.listen[0].proxies == ()
    assert config.listen == (
        ListenSection(protocol="smtp", endpoint="tcp:25", tls="none"),
        ListenSection(protocol="pop3", endpoint="tcp:110", tls="none"),
    )
    assert config.storage == StorageSection(engine="maildir", url=None)
    assert (config.accounts, config.aliases, config.lists) == ((), (), ())
    loopback = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert config.smtp == SmtpSection(
        max_message_size=52428800,
        max_recipients=1000,
        plaintext_auth=False,
        bare_newline="reject",
        verify="authenticated",
        strict_syntax=False,
        hop_limit=100,
        greeting_delay=0.0,
        early_talkers="log",
    )
    assert config.limits == LimitsSection(
        connections=10000,
        connections_per_address=50,
        messages_per_address=Rate(),
        messages_per_account=Rate(),
        messages_per_sender_domain=Rate(),
        recipients_per_address=Rate(),
        recipients_per_account=Rate(2000, 86400.0),
        recipients_per_sender_domain=Rate(),
        failed_recipients_per_address=Rate(100, 3600.0),
        commands_per_address=Rate(100000, 60.0),
        error_delay=1.0,
        auth_failure_delay=1.0,
        auth_failures=3,
        auth_block_after=10,
        auth_block=900.0,
        exempt=loopback,
    )
    assert config.relay == RelaySection(
        networks=loopback,
        smarthost="",
        routes={},
        domains=(),
        tls="opportunistic",
        smarthost_user="",
        smarthost_password_file=None,
        allow_private=False,
    )
    assert config.dns == DnsSection(servers=(), trust_ad=None)
    assert config.policy == PolicySection(
        exempt=None, spf="mark", dkim="mark", dmarc="mark", greylist="off", milter=()
    )
    assert (config.dkim, config.dnsbl) == ((), ())
    assert config.queue == QueueSection(
        retry=(300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0), warn_after=14400.0, expire_after=432000.0
    )
    assert config.pop3 == Pop3Section(plaintext_auth=False, login_delay=0.0)


def test_the_hostname_is_the_default_domain(tmp_path: Path) -> None:
    config = load(
        write(tmp_path, 'hostname = "Example.org"\n[[account]]\naddress = "alice"\npassword = "x"\n')
    )
    assert config.domains == ("example.org",)
    assert config.accounts[0].address == Address("alice", "example.org")


@pytest.mark.parametrize(
    ("postmaster", "expected"),
    [
        ("", Address("alice", "example.org")),
        ('postmaster = ""', Address("alice", "example.org")),
        ('postmaster = "bob"', Address("bob", "example.org")),
        ('postmaster = "bob@elsewhere.example"', Address("bob", "elsewhere.example")),
    ],
)
def test_postmaster(tmp_path: Path, postmaster: str, expected: Address) -> None:
    accounts = "".join(f'[[account]]\naddress = "{name}"\npassword = "x"\n' for name in ("alice", "carol"))
    config = load(write(tmp_path, f'domains = ["example.org"]\n{postmaster}\n{accounts}'))
    assert config.postmaster == expected


@pytest.mark.parametrize(
    ("protocol", "without", "with_tls"),
    [
        *((protocol, "none", "starttls") for protocol in ("smtp", "submission", "lmtp", "pop3")),
        *((protocol, "none", "none") for protocol in ("web", "metrics")),
    ],
)
def test_default_of_tls(tmp_path: Path, protocol: str, without: str, with_tls: str) -> None:
    listen = f'[[listen]]\nprotocol = "{protocol}"\nendpoint = "tcp:0"\n'
    assert [listen.tls for listen in load(write(tmp_path, listen)).listen] == [without]
    assert [listen.tls for listen in load(write(tmp_path, listen + TLS)).listen] == [with_tls]
    implicit = listen + 'tls = "implicit"\n'
    assert [listen.tls for listen in load(write(tmp_path, implicit + TLS)).listen] == ["implicit"]


def test_the_default_ports_have_starttls_with_a_certificate(tmp_path: Path) -> None:
    assert [listen.tls for listen in load(write(tmp_path, TLS)).listen] == ["starttls", "starttls"]


def test_a_certificate_can_be_generated(tmp_path: Path) -> None:
    config = load(write(tmp_path, "[tls]\ngenerate = true\n"))
    assert config.tls == TlsSection(certificate=None, private_key=None, client_ca=None, generate=True)
    assert {listen.tls for listen in config.listen} == {"starttls"}


def test_no_mechanism_at_all(tmp_path: Path) -> None:
    assert load(write(tmp_path, "[auth]\nmechanisms = []\n")).auth.mechanisms == ()


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 'data = "../mail"\n')
    monkeypatch.chdir(tmp_path)
    assert load(Path("mailserver.toml")).data == tmp_path / "../mail"


@pytest.mark.parametrize(
    ("servers", "trusted"),
    [
        ("[]", None),
        ('["127.0.0.53"]', True),
        ('["127.0.0.1:5353", "[::1]:53"]', True),
        ('["127.0.0.1", "192.0.2.53"]', False),
    ],
)
def test_default_of_trust_ad(tmp_path: Path, servers: str, trusted: bool | None) -> None:
    assert load(write(tmp_path, f"[dns]\nservers = {servers}\n")).dns.trust_ad is trusted
    assert load(write(tmp_path, f"[dns]\nservers = {servers}\ntrust_ad = true\n")).dns.trust_ad is True


def test_the_listing_of_the_design(tmp_path: Path) -> None:
    """It has every key that the design names. In these sections its values are the defaults."""
    text = Path(__file__).with_name("listing.toml").read_text(encoding="utf-8")
    config, default = load(write(tmp_path, text)), Config()
    for section in ("smtp", "limits", "relay", "dns", "queue", "pop3"):
        assert getattr(config, section) == getattr(default, section), section
    assert config.policy == attrs.evolve(default.policy, exempt=default.relay.networks)
    assert config.dnsbl == (DnsblSection(zone="zen.example"),)
    for comment in ("url", "trust_ad", "milter"):
        text = text.replace(f"# {comment} = ", f"{comment} = ")
    text = 'workers = "auto"\n' + text.replace('engine = "maildir"', 'engine = "postgresql"')
    config = load(write(tmp_path, text))
    assert (config.workers, config.dns.trust_ad) == ("auto", True)
    assert config.policy.milter == ("unix:/run/rspamd/milter.sock",)
    assert config.storage.url is not None
