"""What good configurations come to."""

from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest

from mailserver.config.kinds import Secret
from mailserver.config.loader import load
from mailserver.config.model import Account, Alias, Config, Listen, MailingList, Moved, Tls
from mailserver.config.sections import Limits, Pop3, Queue, Relay, Smtp, Storage
from mailserver.mail.address import Address

TLS = '[tls]\ncertificate = "fullchain.pem"\nprivate_key = "/keys/privkey.pem"\n'

EVERYTHING = """
hostname = "Mail.Example.org"
data = "mail"
domains = ["Example.ORG", "bücher.example"]
allow_root = true
stop_grace = "1.5s"
postmaster = "root@elsewhere.example"
catch_all = { "BÜCHER.example" = "alice" }

[[listen]]
protocol = "submission"
endpoint = "tcp:587"

[[listen]]
protocol = "lmtp"
endpoint = "unix:/run/lmtp.sock"
tls = "none"

[tls]
certificate = "fullchain.pem"
private_key = "/keys/privkey.pem"

[storage]
engine = "postgresql"
url = "postgresql://mail:hunter2@db/mail"
reserve = "1 GiB"
quota = "2 MiB"
quota_messages = 1000

[[account]]
address = "Alice"
password = "hunter2"
quota = 0
quota_messages = 7

[[account]]
address = "bob@BÜCHER.example"
password = "{PLAIN}$6$hunter2"

[[alias]]
address = "sales@example.org"
to = ["alice", "carol@elsewhere.example"]

[[alias]]
address = "sold"
to = ["buyer@elsewhere.example"]
announce = true

[[list]]
address = "club@xn--bcher-kva.example"
members = ["bob"]
owner = "alice"

[[moved]]
address = "dora"
to = "dora@elsewhere.example"

[smtp]
max_message_size = "10 MB"
max_line_length = 1000
max_recipients = 100
plaintext_auth = true
bare_newline = "normalize"
verify = "never"
strict_syntax = true
hop_limit = 30
max_errors = 7
transaction_timeout = "1h"
command_timeout = "6m"

[limits]
connections = 0
connections_per_address = 1
auth_failure_delay = "500ms"
exempt = []

[relay]
networks = ["10.0.0.0/8", "2001:db8::1"]
smarthost = "smtp.example.net:587"

[relay.routes]
"Example.NET" = "lmtp:unix:/run/other.sock"
"b.example" = "[2001:db8::1]:25"

[queue]
retry = [1, "2m", 0.5]
warn_after = "1h"
expire_after = "2d"

[pop3]
plaintext_auth = "loopback"
login_delay = 10
command_timeout = "15m"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mailserver.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything(tmp_path: Path) -> None:
    assert load(write(tmp_path, EVERYTHING)) == Config(
        hostname="mail.example.org",
        data=tmp_path / "mail",
        domains=("example.org", "xn--bcher-kva.example"),
        allow_root=True,
        stop_grace=1.5,
        postmaster=Address("root", "elsewhere.example"),
        catch_all={"xn--bcher-kva.example": Address("alice", "example.org")},
        listen=(
            Listen(protocol="submission", endpoint="tcp:587", tls="starttls"),
            Listen(protocol="lmtp", endpoint="unix:/run/lmtp.sock", tls="none"),
        ),
        tls=Tls(certificate=tmp_path / "fullchain.pem", private_key=Path("/keys/privkey.pem")),
        storage=Storage(
            engine="postgresql",
            url=Secret("postgresql://mail:hunter2@db/mail"),
            reserve=1 << 30,
            quota=2 << 20,
            quota_messages=1000,
        ),
        accounts=(
            Account(
                address=Address("Alice", "example.org"),
                password=Secret("hunter2"),
                quota=0,
                quota_messages=7,
            ),
            Account(address=Address("bob", "xn--bcher-kva.example"), password=Secret("{PLAIN}$6$hunter2")),
        ),
        aliases=(
            Alias(
                address=Address("sales", "example.org"),
                to=(Address("alice", "example.org"), Address("carol", "elsewhere.example")),
            ),
            Alias(
                address=Address("sold", "example.org"),
                to=(Address("buyer", "elsewhere.example"),),
                announce=True,
            ),
        ),
        lists=(
            MailingList(
                address=Address("club", "xn--bcher-kva.example"),
                members=(Address("bob", "example.org"),),
                owner=Address("alice", "example.org"),
            ),
        ),
        moved=(Moved(address=Address("dora", "example.org"), to=Address("dora", "elsewhere.example")),),
        smtp=Smtp(
            max_message_size=10_000_000,
            max_line_length=1000,
            max_recipients=100,
            plaintext_auth=True,
            bare_newline="normalize",
            verify="never",
            strict_syntax=True,
            hop_limit=30,
            max_errors=7,
            transaction_timeout=3600.0,
            command_timeout=360.0,
        ),
        limits=Limits(connections=0, connections_per_address=1, auth_failure_delay=0.5, exempt=()),
        relay=Relay(
            networks=(ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128")),
            smarthost="smtp.example.net:587",
            routes={"example.net": "lmtp:unix:/run/other.sock", "b.example": "[2001:db8::1]:25"},
        ),
        queue=Queue(retry=(1.0, 120.0, 0.5), warn_after=3600.0, expire_after=172800.0),
        pop3=Pop3(plaintext_auth="loopback", login_delay=10.0, command_timeout=900.0),
    )


def test_everything_is_everything() -> None:
    """The text above has each key there is, so a new one is not forgotten there."""
    sections = [
        *(Listen, Tls, Storage, Account, Alias, MailingList, Moved),
        *(Smtp, Limits, Relay, Queue, Pop3),
    ]
    names = [field.name for cls in sections for field in attrs.fields(cls)]
    assert all(f"{name} = " in EVERYTHING or f".{name}]" in EVERYTHING for name in names)
    assert len(attrs.fields(Config)) == 7 + len(sections)


@pytest.mark.parametrize(
    "text", ["", "[smtp]\n[limits]\n[relay]\n[queue]\n[pop3]\n[storage]\n", "account = []\n"]
)
def test_defaults(tmp_path: Path, text: str) -> None:
    config = load(write(tmp_path, text))
    assert config == Config()
    assert config.hostname == "localhost"
    assert config.domains == ("localhost",)
    assert config.data == Path("/var/lib/mailserver")
    assert (config.allow_root, config.stop_grace, config.postmaster) == (False, 5.0, None)
    assert config.tls is None
    assert config.listen == (
        Listen(protocol="smtp", endpoint="tcp:25", tls="none"),
        Listen(protocol="pop3", endpoint="tcp:110", tls="none"),
    )
    assert config.storage == Storage(engine="maildir", url=None)
    assert (config.accounts, config.aliases, config.lists) == ((), (), ())
    loopback = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert config.smtp == Smtp(
        max_message_size=52428800,
        max_recipients=1000,
        plaintext_auth=False,
        bare_newline="reject",
        verify="authenticated",
        strict_syntax=False,
        hop_limit=100,
    )
    assert config.limits == Limits(
        connections=10000, connections_per_address=50, auth_failure_delay=1.0, exempt=loopback
    )
    assert config.relay == Relay(networks=loopback, smarthost="", routes={})
    assert config.queue == Queue(
        retry=(300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0), warn_after=14400.0, expire_after=432000.0
    )
    assert config.pop3 == Pop3(plaintext_auth=False, login_delay=0.0)


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


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 'data = "../mail"\n')
    monkeypatch.chdir(tmp_path)
    assert load(Path("mailserver.toml")).data == tmp_path / "../mail"


def test_secrets_do_not_show(tmp_path: Path) -> None:
    config = load(write(tmp_path, EVERYTHING))
    assert "hunter2" not in repr(config) + str(config) + f"{config.accounts[0].password}"
    assert f"{config.accounts[0].password!r} {config.storage.url}" == "******** ********"
    assert config.accounts[0].password.reveal() == "hunter2"


def test_the_configuration_is_frozen(tmp_path: Path) -> None:
    config = load(write(tmp_path, EVERYTHING))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.hostname = "other"
    with pytest.raises(TypeError):
        config.relay.routes["x"] = "y"
