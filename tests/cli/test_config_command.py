"""``mailserver config`` without a server."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailserver.cli.main import cli
from mailserver.config.loader import load
from mailserver.errors import MailserverError
from tests.support.tls_material import make_ca

CONFIG = """hostname = "mail.example.org"
domains = ["example.org", "example.com"]

[smtp]
max_recipients = 200

[[account]]
address = "alice@example.org"
password = "hunter2"

[[account]]
address = "bob@example.org"
password = "hunter2"

[token]
key = "hunter2hunter2hunter2hunter2hunter2"
"""
ENVIRONMENT = {"MAILSERVER__SMTP__HOP_LIMIT": "40", "MAILSERVER__POP3__LOGIN_DELAY": "90s"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mailserver.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return path


def run(path: Path, words: str, environ: Mapping[str, str] = ENVIRONMENT) -> str:
    """The output of a command that succeeds. An error is raised."""
    arguments = ["config", *words.split(), "--config", str(path)]
    ended = CliRunner().invoke(cli, arguments, env=dict(environ), standalone_mode=False)
    if ended.exception is not None:
        raise ended.exception
    assert ended.return_value == 0
    return ended.stdout


def test_what_is_shown_is_a_configuration(path: Path) -> None:
    copy = path.with_name("copy.toml")
    copy.write_text(run(path, "show --secrets"))
    assert load(copy) == load(path, ENVIRONMENT)
    shown = run(path, "show")
    assert tomllib.loads(shown)["smtp"]["hop_limit"] == 40
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "line",
    [
        'hostname = "mail.example.org"  # FILE:1',
        "max_recipients = 200  # FILE:5",
        "hop_limit = 40  # MAILSERVER__SMTP__HOP_LIMIT",
        'login_delay = "90s"  # MAILSERVER__POP3__LOGIN_DELAY',
        "max_errors = 20  # default",
        "[[account]]  # FILE:7",
        "[[account]]  # FILE:11",
        "[[listen]]  # default",
        'password = "(hidden)"',
        'key = "(hidden)"  # FILE:16',
    ],
)
def test_the_origin_of_each_value(path: Path, line: str) -> None:
    assert line.replace("FILE", str(path)) in run(path, "show").splitlines()


def test_some_keys(path: Path) -> None:
    assert run(path, "show smtp.hop_limit queue.retry").splitlines() == [
        "smtp.hop_limit = 40  # MAILSERVER__SMTP__HOP_LIMIT",
        'queue.retry = ["5m", "15m", "30m", "1h", "2h", "4h"]  # default',
    ]
    assert json.loads(run(path, "show --json smtp.max_recipients token.key")) == [
        {"key": "smtp.max_recipients", "value": 200, "source": f"{path}:5"},
        {"key": "token.key", "value": "(hidden)", "source": f"{path}:16"},
    ]
    assert json.loads(run(path, "show --json tls")) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("hostname", "mail.example.org\n"),
        ("domains", "example.org\nexample.com\n"),
        ("smtp.max_recipients", "200\n"),
        ("smtp.plaintext_auth", "false\n"),
        ("pop3.login_delay", "90s\n"),
        ("relay.routes", "{}\n"),
        ("relay.smarthost", "\n"),
        ("relay.domains", ""),
        ("token.key --secrets", "hunter2hunter2hunter2hunter2hunter2\n"),
        (
            "account",
            '{ address = "alice@example.org", password = "(hidden)" }\n'
            '{ address = "bob@example.org", password = "(hidden)" }\n',
        ),
    ],
)
def test_get(path: Path, words: str, text: str) -> None:
    assert run(path, f"get {words}") == text


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("get tls.certificate", "tls.certificate is not set"),
        ("get token.key", "token.key is a secret; to print it, use --secrets"),
        ("get smtp.max_recipient", 'unknown key "smtp.max_recipient"; did you mean "smtp.max_recipients"?'),
        ("show smpt", 'unknown key "smpt"; did you mean "smtp"?'),
        ("get smtp", 'unknown key "smtp"; did you mean'),
        ("show --running", "no server runs on "),
    ],
)
def test_errors(path: Path, words: str, error: str) -> None:
    with pytest.raises(Exception) as caught:
        run(path, words, {"MAILSERVER__DATA": str(path.parent / "data")})
    assert error in getattr(caught.value, "message", str(caught.value))


def test_the_differences_from_the_defaults(path: Path) -> None:
    assert [line for line in run(path, "diff").splitlines() if not line.startswith("account")] == [
        f'hostname = "mail.example.org"  # {path}:1 (default: "localhost")',
        f'domains = ["example.org", "example.com"]  # {path}:2 (default: ["mail.example.org"])',
        f'token.key = "(hidden)"  # {path}:16 (default: "")',
        f"smtp.max_recipients = 200  # {path}:5 (default: 1000)",
        "smtp.hop_limit = 40  # MAILSERVER__SMTP__HOP_LIMIT (default: 100)",
        'pop3.login_delay = "90s"  # MAILSERVER__POP3__LOGIN_DELAY (default: "0s")',
    ]


def test_check_reports_all_errors(path: Path) -> None:
    pair = make_ca(path.parent).issue("mail.example.org")
    tables = f"""
[tls]
certificate = "{pair.certificate}"
private_key = "{pair.private_key}"
[[listen]]
protocol = "smtp"
endpoint = "systemd:domain=INET6:index=0"
[[dkim]]
domain = "example.org"
selector = "s1"
key = "missing.pem"
"""
    listen = '[[listen]]\nprotocol = "smtp"\nendpoint = "nonsense:1"\n'
    path.write_text(f"{CONFIG}{tables}{listen}")
    pair.private_key.unlink()
    with pytest.raises(MailserverError) as caught:
        run(path, "check")
    keys = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert keys == ["listen[2].endpoint", "tls.private_key", "dkim[1].key"]
    path.write_text(CONFIG)
    assert run(path, "check") == f"{path}: no errors\n"
    path.chmod(0o644)
    assert run(path, "check").startswith(f"warning: {path}: everybody can read or change the secrets in it")
