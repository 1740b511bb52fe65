"""``everything.toml`` has every key there is; here is the Config it comes to."""

from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import attrs
import pytest

from mailserver.config.keys.addresses import AccountSection, AliasSection, ListSection, MovedSection
from mailserver.config.keys.alerts import AlertsSection
from mailserver.config.keys.auth import AuthSection, TokenSection
from mailserver.config.keys.dkim import DkimSection
from mailserver.config.keys.dns import DnsSection
from mailserver.config.keys.forward import ForwardSection
from mailserver.config.keys.limits import LimitsSection
from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.log import LogSection, SyslogServer
from mailserver.config.keys.policy import DnsblSection, PolicySection
from mailserver.config.keys.pop3 import Pop3Section
from mailserver.config.keys.quarantine import QuarantineSection
from mailserver.config.keys.queue import QueueSection
from mailserver.config.keys.relay import RelaySection, ThrottleSection
from mailserver.config.keys.smtp import SmtpSection, SubmissionSection
from mailserver.config.keys.storage import StorageSection
from mailserver.config.keys.tls import CertificateSection, TlsSection
from mailserver.config.keys.top_level import Config
from mailserver.config.keys.web import WebSection
from mailserver.config.loader import load
from mailserver.config.schema.dns_kinds import CodeRange, DnsServer
from mailserver.config.schema.kinds import Secret
from mailserver.config.schema.tables import Table, Tables, keys_of
from mailserver.mail.address import Address
from mailserver.mail.rate import Rate
from mailserver.mail.retention import Retention

EVERYTHING = (Path(__file__).parent / "everything.toml").read_text(encoding="utf-8")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "mailserver.toml"
    path.write_text(EVERYTHING, encoding="utf-8")
    return load(path)


def test_everything(tmp_path: Path, config: Config) -> None:
    assert config == Config(
        hostname="mail.example.org",
        data=tmp_path / "mail",
        domains=("example.org", "xn--bcher-kva.example"),
        allow_root=True,
        stop_grace=1.5,
        workers="auto",
        postmaster=Address("root", "elsewhere.example"),
        catch_all={"xn--bcher-kva.example": Address("alice", "example.org")},
        listen=(
            ListenSection(
                protocol="submission",
                endpoint="tcp:587",
                tls="starttls",
                proxies=(ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128")),
            ),
            ListenSection(protocol="lmtp", endpoint="unix:/run/lmtp.sock", tls="none"),
        ),
        tls=TlsSection(
            certificate=tmp_path / "fullchain.pem",
            private_key=Path("/keys/privkey.pem"),
            client_ca=tmp_path / "clients.pem",
            generate=False,
        ),
        certificates=(
            CertificateSection(certificate=tmp_path / "net.pem", private_key=tmp_path / "net-key.pem"),
            CertificateSection(certificate=Path("/keys/com.pem"), private_key=Path("/keys/com-key.pem")),
        ),
        storage=StorageSection(
            engine="postgresql",
            url=Secret("postgresql://mail:hunter2@db/mail"),
            reserve=1 << 30,
            quota=2 << 20,
            quota_messages=1000,
        ),
        accounts=(
            AccountSection(
                address=Address("Alice", "example.org"),
                password=Secret("hunter2"),
                quota=0,
                quota_messages=7,
                expire=Retention(0),
            ),
            AccountSection(
                address=Address("bob", "xn--bcher-kva.example"), password=Secret("{PLAIN}$6$hunter2")
            ),
        ),
        aliases=(
            AliasSection(
                address=Address("sales", "example.org"),
                to=(Address("alice", "example.org"), Address("carol", "elsewhere.example")),
            ),
            AliasSection(
                address=Address("sold", "example.org"),
                to=(Address("buyer", "elsewhere.example"),),
                announce=True,
            ),
        ),
        lists=(
            ListSection(
                address=Address("club", "xn--bcher-kva.example"),
                members=(Address("bob", "example.org"),),
                owner=Address("alice", "example.org"),
                verp=True,
                from_rewrite=False,
            ),
        ),
        moved=(
            MovedSection(address=Address("dora", "example.org"), to=Address("dora", "elsewhere.example")),
        ),
        auth=AuthSection(
            mechanisms=("SCRAM-SHA-256", "PLAIN", "EXTERNAL"),
            remember=0.0,
            passwd_file=tmp_path / "dovecot.passwd",
        ),
        token=TokenSection(
            key=Secret("hunter2" * 5),
            jwks=tmp_path / "keys.json",
            issuer="https://login.example",
            audience="mail",
            claim="sub",
        ),
        smtp=SmtpSection(
            max_message_size=10_000_000,
            max_line_length=1000,
            max_recipients=100,
            max_recipient_domains=5,
            max_messages=20,
            old_auth_line=True,
            plaintext_auth=True,
            bare_newline="normalize",
            verify="never",
            strict_syntax=True,
            hop_limit=30,
            max_errors=7,
            transaction_timeout=3600.0,
            command_timeout=360.0,
            greeting_delay=1.0,
            early_talkers="refuse",
            no_soliciting=("org.example:ADV", "a"),
            xclient_networks=(ip_network("192.0.2.10"),),
            xforward_networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
        ),
        submission=SubmissionSection(senders="any", hide_client=True, remove_bcc=True),
        limits=LimitsSection(
            connections=0,
            connections_per_address=1,
            messages_per_address=Rate(1, 1.0),
            messages_per_account=Rate(2, 2.0),
            messages_per_sender_domain=Rate(3, 3.0),
            recipients_per_address=Rate(4, 4.0),
            recipients_per_account=Rate(),
            recipients_per_sender_domain=Rate(6, 60.0),
            failed_recipients_per_address=Rate(),
            commands_per_address=Rate(8, 86400.0),
            error_delay=0.0,
            auth_failure_delay=0.5,
            auth_failures=5,
            auth_block_after=6,
            auth_block=3600.0,
            exempt=(),
        ),
        relay=RelaySection(
            networks=(ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128")),
            smarthost="smtp.example.net:587",
            routes={"example.net": "lmtp:unix:/run/other.sock", "b.example": "[2001:db8::1]:25"},
            domains=("xn--bcher-kva.example.net",),
            atrn={
                "xn--bcher-kva.example.net": (Address("alice", "example.org"), Address("bob", "example.org"))
            },
            tls="required",
            smarthost_user="alice",
            smarthost_password_file=tmp_path / "smarthost.password",
            allow_private=True,
            tls_domains={"example.net": "verified", "b.example": "none"},
            tls_reports=True,
            source_address=(IPv4Address("192.0.2.1"), ip_address("2001:db8::1")),
        ),
        forward=ForwardSection(srs=False),
        alerts=AlertsSection(
            mail=False, webhook=Secret("https://hooks.example/mail?token=abc"), interval=7200.0, hold=True
        ),
        quarantine=QuarantineSection(expire_after=14 * 86400.0),
        throttle=(ThrottleSection(domain="example.net", messages=100, per=3600.0),),
        dns=DnsSection(
            servers=(DnsServer(ip_address("127.0.0.1")), DnsServer(ip_address("::1"), 5353)), trust_ad=False
        ),
        dkim=(
            DkimSection(domain="example.org", selector="s1", key=tmp_path / "dkim" / "s1.pem"),
            DkimSection(domain="example.org", selector="s2.mail", key=Path("/keys/s2.pem")),
        ),
        policy=PolicySection(
            exempt=(),
            spf="refuse",
            dkim="off",
            dmarc="enforce",
            dmarc_reports=True,
            score_threshold=8,
            reverse_dns_weight=2,
            helo_weight=1,
            trusted_forwarders=("lists.example",),
            deadline=10.0,
            on_error="defer",
            greylist="suspicious",
            greylist_delay=600.0,
            first_contact="delay",
            first_contact_delay=1200.0,
            milter=("unix:/run/milter.sock", "localhost:11332"),
            milter_timeout=10.0,
            milter_default="accept",
        ),
        dnsbl=(
            DnsblSection(
                zone="zen.example",
                action="mark",
                weight=-3,
                codes=(
                    CodeRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.0.2")),
                    CodeRange(IPv4Address("127.0.0.4"), IPv4Address("127.0.0.7")),
                ),
            ),
        ),
        queue=QueueSection(
            retry=(1.0, 120.0, 0.5),
            warn_after=3600.0,
            expire_after=172800.0,
            connections=50,
            connections_per_destination=5,
        ),
        pop3=Pop3Section(
            plaintext_auth="loopback",
            login_delay=10.0,
            expire=Retention(30),
            language="ru",
            command_timeout=900.0,
        ),
        web=WebSection(
            administrators=(Address("alice", "example.org"),),
            open=True,
            names=("webmail.example.org",),
            mta_sts="testing",
        ),
        log=LogSection(
            format="syslog",
            destination=SyslogServer("tcp", "2001:db8::1", 601),
            trace_days=3,
            trace_size=10 << 20,
        ),
    )


def test_everything_is_everything() -> None:
    """The file has each key there is, so a new one is not forgotten there."""
    tables: list[type[attrs.AttrsInstance]] = [Config]
    for found in keys_of(Config):
        if isinstance(found.kind, Table):
            tables.append(found.kind.cls)
            assert f"\n[{found.name}]\n" in EVERYTHING
        elif isinstance(found.kind, Tables):
            tables.append(found.kind.table.cls)
            assert f"\n[[{found.name}]]\n" in EVERYTHING
    names = {key.name for cls in tables for key in keys_of(cls) if not isinstance(key.kind, Table | Tables)}
    assert all(f"\n{name} = " in EVERYTHING or f".{name}]" in EVERYTHING for name in names)


def test_secrets_do_not_show(config: Config) -> None:
    assert "hunter2" not in repr(config) + str(config) + f"{config.accounts[0].password}"
    assert f"{config.accounts[0].password!r} {config.storage.url}" == "******** ********"
    assert f"{config.token.key}" == "********"
    assert config.accounts[0].password.reveal() == "hunter2"


def test_the_configuration_is_frozen(config: Config) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.hostname = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.relay.routes["x"] = "y"  # type: ignore[index]
