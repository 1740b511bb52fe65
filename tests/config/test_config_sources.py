"""Values from the environment and the command line, and what wins over what."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.config.schema.kinds import Secret
from mailserver.config.sources import options
from mailserver.errors import ConfigurationError
from mailserver.mail.address import Address
from mailserver.mail.rate import Rate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that sets a few keys."""
    path = tmp_path / "mailserver.toml"
    path.write_text('hostname = "file.example"\n\n[smtp]\nmax_recipients = 200\n\n[queue]\nretry = ["1m"]\n')
    return path


def server(address: str, port: int) -> DnsServer:
    return DnsServer(ip_address(address), port)


def dig(config: Config, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, {"account": "accounts", "alias": "aliases", "list": "lists"}.get(part, part))
    return value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("hostname", "env.example", "env.example"),
        ("data", "/srv/mail", Path("/srv/mail")),
        ("domains", "a.example, b.example", ("a.example", "b.example")),
        ("domains", "a.example", ("a.example",)),
        ("domains", '["a.example", "b.example"]', ("a.example", "b.example")),
        ("allow_root", "true", True),
        ("allow_root", "false", False),
        ("stop_grace", "250ms", 0.25),
        ("stop_grace", "3", 3.0),
        ("postmaster", "root", Address("root", "file.example")),
        (
            "listen",
            '[{protocol="smtp", endpoint="tcp:0"}]',
            (ListenSection(protocol="smtp", endpoint="tcp:0"),),
        ),
        ("account", "[]", ()),
        ("smtp.max_message_size", "1 MiB", 2**20),
        ("smtp.max_message_size", "100000", 100_000),
        ("smtp.max_recipients", "300", 300),
        ("smtp.plaintext_auth", "true", True),
        ("smtp.plaintext_auth", "false", False),
        ("smtp.plaintext_auth", "loopback", "loopback"),
        ("smtp.verify", "never", "never"),
        ("limits.exempt", "", ()),
        ("limits.exempt", "::1,10.0.0.0/8", (ip_network("::1"), ip_network("10.0.0.0/8"))),
        ("queue.retry", "5m, 1h", (300.0, 3600.0)),
        ("queue.retry", '[60, "1h"]', (60.0, 3600.0)),
        ("relay.smarthost", "", ""),
        ("auth.mechanisms", "", ()),
        ("auth.mechanisms", "SCRAM-SHA-256, PLAIN", ("SCRAM-SHA-256", "PLAIN")),
        ("token.jwks", "", None),
        ("limits.messages_per_address", "100/1h", Rate(100, 3600.0)),
        ("limits.messages_per_address", "0", Rate()),
        ("tls.generate", "true", True),
        ("workers", "auto", "auto"),
        ("workers", "4", 4),
        ("relay.domains", "", ()),
        ("dns.servers", "127.0.0.53, [::1]:5353", (server("127.0.0.53", 53), server("::1", 5353))),
        ("dns.trust_ad", "false", False),
        ("policy.exempt", "", ()),
        ("policy.milter", "unix:/run/a.sock, b:1", ("unix:/run/a.sock", "b:1")),
        ("relay.routes", '{ "a.example" = "host:25" }', {"a.example": "host:25"}),
    ],
)
def test_text(path: Path, name: str, text: str, expected: object) -> None:
    variable = "MAILSERVER__" + name.upper().replace(".", "__")
    assert dig(load(path, environ={variable: text}), name) == expected
    assert dig(load(path, overrides={name: text}), name) == expected


def test_whole_tables(path: Path) -> None:
    config = load(
        path,
        {
            "MAILSERVER__ACCOUNT": '[{address="alice", password="hunter2"}]',
            "MAILSERVER__ALIAS": '[{address="sales", to=["alice"]}]',
            "MAILSERVER__LIST": '[\n {address="club", members=["alice"]},\n]',
            "MAILSERVER__TLS__CERTIFICATE": "cert.pem",
            "MAILSERVER__TLS__PRIVATE_KEY": "key.pem",
            "MAILSERVER__CERTIFICATE": '[{certificate="b.pem", private_key="b-key.pem"}]',
            "MAILSERVER__DKIM": '[{domain="a.example", selector="s1", key="s1.pem"}]',
            "MAILSERVER__DNSBL": '[{zone="zen.example"}]',
            "MAILSERVER__TOKEN__KEY": "k" * 32,
            "MAILSERVER__STORAGE__ENGINE": "postgresql",
            "MAILSERVER__STORAGE__URL": "postgresql://db/mail",
        },
    )
    alice = Address("alice", "file.example")
    assert config.accounts[0].address == alice
    assert config.accounts[0].password.reveal() == "hunter2"
    assert config.aliases[0].to == config.lists[0].members == (alice,)
    assert config.tls is not None
    assert config.tls.certificate == path.parent / "cert.pem"
    assert [one.certificate for one in config.certificates] == [path.parent / "b.pem"]
    assert [one.key for one in config.dkim] == [path.parent / "s1.pem"]
    assert [one.zone for one in config.dnsbl] == ["zen.example"]
    assert config.token.key == Secret("k" * 32)
    assert {listen.tls for listen in config.listen} == {"starttls"}
    assert config.storage.url is not None


@pytest.mark.parametrize("folder", ["", "/run/credentials/other.service"])
def test_credentials_of_systemd(path: Path, folder: str) -> None:
    path.write_text('[tls]\ncertificate = "a.pem"\nprivate_key = "credential:a.pem"\n')
    config = load(path, {"CREDENTIALS_DIRECTORY": folder})
    assert config.tls is not None
    assert config.tls.certificate == path.parent / "a.pem"
    assert config.tls.private_key == Path(folder or "/run/credentials/mailserver.service") / "a.pem"


def test_precedence(path: Path) -> None:
    environ = {"MAILSERVER__SMTP__MAX_RECIPIENTS": "300", "MAILSERVER__HOSTNAME": "env.example"}
    overrides = {"smtp.max_recipients": "400"}
    assert load(path).smtp.max_recipients == 200
    assert load(path, environ).smtp.max_recipients == 300
    both = load(path, environ, overrides)
    assert (both.smtp.max_recipients, both.hostname, both.queue.retry) == (400, "env.example", (60.0,))
    assert both.smtp.hop_limit == 100


def test_names_of_others_are_ignored(path: Path) -> None:
    others = ("MAILSERVER_TWISTD", "MAILSERVER", "MAILSERVER_SMTP__MAX_RECIPIENTS", "XMAILSERVER__HOSTNAME")
    assert load(path, dict.fromkeys(others, "?")) == load(path)


def test_a_wrong_value_in_the_file_is_replaced(path: Path) -> None:
    path.write_text("[smtp]\nmax_recipients = 5\n")
    assert load(path, {"MAILSERVER__SMTP__MAX_RECIPIENTS": "300"}).smtp.max_recipients == 300


@pytest.mark.parametrize(
    ("environ", "overrides", "expected"),
    [
        (
            {"MAILSERVER__SMTP__MAX_RECIPIENTS": "5"},
            {},
            ["MAILSERVER__SMTP__MAX_RECIPIENTS: 5 is too small; allowed: an integer of at least 100"],
        ),
        (
            {"MAILSERVER__SMTP__MAX_RECIPIENTS": "many"},
            {},
            ['MAILSERVER__SMTP__MAX_RECIPIENTS: invalid integer "many"; allowed: an integer of at least 100'],
        ),
        (
            {},
            {"smtp.max_recipients": "5"},
            ["--smtp-max-recipients: 5 is too small; allowed: an integer of at least 100"],
        ),
        (
            {"MAILSERVER__SMTP__MAX_RECIPIENTS": "many"},
            {"smtp.max_recipients": "5"},
            ["--smtp-max-recipients: 5 is too small; allowed: an integer of at least 100"],
        ),
        (
            {"MAILSERVER__ALLOW_ROOT": "yes"},
            {},
            ['MAILSERVER__ALLOW_ROOT: "yes" is a string; allowed: true or false'],
        ),
        (
            {"MAILSERVER__SMTP_HOP_LIMIT": "5", "MAILSERVER__LIMIT__EXEMPT": "x"},
            {},
            [
                'MAILSERVER__SMTP_HOP_LIMIT: unknown variable; did you mean "MAILSERVER__SMTP__HOP_LIMIT"?',
                'MAILSERVER__LIMIT__EXEMPT: unknown variable; did you mean "MAILSERVER__LIMITS__EXEMPT"?',
            ],
        ),
        (
            {},
            {"smtp.max_recipient": "5"},
            ['--smtp-max-recipient: unknown option; did you mean "--smtp-max-recipients"?'],
        ),
        (
            {"MAILSERVER__LISTEN": '[{protocol="imap", endpoint="tcp:143"}]'},
            {"domains": "a.example, a b"},
            [
                '--domains: domains[2]: invalid domain "a b": the domain is not a valid host name; allowed: '
                'a host name such as "mail.example.org", or an address literal such as "[192.0.2.1]"',
                'MAILSERVER__LISTEN: listen[1].protocol: unknown value "imap"; allowed: '
                '"smtp", "submission", "lmtp", "pop3", "web" or "metrics"',
            ],
        ),
        (
            {"MAILSERVER__ACCOUNT": "hunter2", "MAILSERVER__LISTEN": "[]\nx = 1"},
            {},
            [
                "MAILSERVER__ACCOUNT: the value is not TOML; allowed: an array of tables",
                "MAILSERVER__LISTEN: the value is not TOML; allowed: an array of tables",
            ],
        ),
        (
            {"MAILSERVER__RELAY__ROUTES": '{"a.example" = "nowhere"}'},
            {},
            [
                'MAILSERVER__RELAY__ROUTES: relay.routes."a.example": invalid destination "nowhere"; '
                'allowed: "host:port", "[IPv6]:port", "smtps:host:port", "lmtp:host:port", "unix:/path" or '
                '"lmtp:unix:/path"'
            ],
        ),
        (
            {"MAILSERVER__TLS__CERTIFICATE": "cert.pem"},
            {},
            [
                "FILE: tls.private_key: the key is missing; allowed: a path, absolute or relative to the "
                "folder of the configuration file, or generate = true without it"
            ],
        ),
        (
            {"MAILSERVER__DATA": "/srv/\udcff"},
            {},
            [
                "MAILSERVER__DATA: the text is not UTF-8; allowed: "
                "a path, absolute or relative to the folder of the configuration file"
            ],
        ),
    ],
)
def test_errors_name_the_place(
    path: Path, environ: dict[str, str], overrides: dict[str, str], expected: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ, overrides)
    assert [line.replace(str(path), "FILE") for line in caught.value.lines] == expected


def test_a_section_that_is_none_takes_no_values(path: Path) -> None:
    path.write_text("smtp = 25\n")
    with pytest.raises(ConfigurationError) as caught:
        load(path, {"MAILSERVER__SMTP__MAX_RECIPIENTS": "300"})
    assert caught.value.lines == [f"{path}: smtp: the value is an integer; allowed: a table, headed [smtp]"]


def test_options() -> None:
    found = {option.key: option for option in options()}
    assert found["smtp.max_recipients"].name == "smtp-max-recipients"
    assert found["limits.exempt"].name == "limits-exempt"
    assert all(option.doc.endswith(".") and "\n" not in option.doc for option in found.values())
    tables = {
        "listen",
        "certificate",
        "account",
        "alias",
        "list",
        "relay.routes",
        "relay.tls_domains",
        "throttle",
        "dkim",
        "dnsbl",
    }
    assert (tables | {"storage.url", "token.key", "alerts.webhook"}).isdisjoint(found)
    assert len(found) == len({option.name for option in found.values()}) == 112
