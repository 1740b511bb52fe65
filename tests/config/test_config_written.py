"""A configuration as values of TOML, and the differences between two configurations."""

import tomllib
from pathlib import Path

import pytest

from mailserver.config.loader import load
from mailserver.config.schema.problems import literal
from mailserver.config.schema.scalars import Duration, RateOf
from mailserver.config.written import changes, default_values, values_of
from mailserver.mail.rate import Rate

EVERYTHING = Path(__file__).with_name("everything.toml")
PREFIX = 'hostname = "mail.example.org"\ndomains = ["example.org"]\n'
BASE = """
[smtp]
max_recipients = 200
[[account]]
address = "alice"
password = "hunter2"
[[account]]
address = "bob"
password = "hunter2"
quota = 7
[[listen]]
protocol = "smtp"
endpoint = "tcp:25"
[[listen]]
protocol = "pop3"
endpoint = "tcp:110"
"""


@pytest.mark.parametrize("text", [EVERYTHING.read_text(), PREFIX, PREFIX + BASE], ids=["all", "none", "some"])
def test_what_is_written_is_read_as_the_same(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    path.write_text(text)
    config = load(path)
    values = values_of(config, secrets=True)
    path.write_text("\n".join(f"{key} = {literal(value)}" for key, value in values.items()))
    assert load(path) == config
    assert "hunter2" not in str(values_of(config))


def test_the_defaults_are_those_of_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    path.write_text("")
    assert default_values("localhost") == values_of(load(path))
    assert default_values("a.example")["domains"] == ["a.example"]


DURATIONS = {
    **{"0s": 0, "250ms": 0.25, "1500ms": 1.5, "90s": 90, "5m": 300, "2h": 7200, "1d": 86400},
    **{"0.0001s": 0.0001, "36h": 129600, "10d": 864000},
}  # fmt: skip


@pytest.mark.parametrize("text", DURATIONS)
def test_durations(text: str) -> None:
    seconds = float(DURATIONS[text])
    assert Duration().written(seconds) == text
    assert RateOf().written(Rate(9, seconds)) == f"9/{text}"


@pytest.mark.parametrize("text", ["\x7f", "tab\t", 'quote"', "back\\slash", "\x01", "ü", "😀"])
def test_literals_are_valid(text: str) -> None:
    written = literal({text: [text, True, 1]})
    assert tomllib.loads(f"a = {written}") == {"a": {text: [text, True, 1]}}


BOB = '{ address = "bob@example.org", password = "(hidden)", quota = 7 }'
CHANGES = {
    "nothing": (BASE, []),
    "another value": (BASE.replace("200", "300"), ["smtp.max_recipients: 200 → 300"]),
    "a default": (BASE.replace("max_recipients = 200", ""), ["smtp.max_recipients: 200 → 1000"]),
    "a section": (
        BASE + '[tls]\ncertificate = "/a.pem"\nprivate_key = "/k.pem"',
        [
            'listen["smtp"].tls: "none" → "starttls"',
            'listen["pop3"].tls: "none" → "starttls"',
            'tls.certificate: not set → "/a.pem"',
            'tls.private_key: not set → "/k.pem"',
            "tls.generate: not set → false",
        ],
    ),
    "a secret": (
        BASE.replace("hunter2", "HUNTER2", 1),
        ['account["alice@example.org"].password: "(hidden)" → "(hidden)"'],
    ),
    "a new account": (
        '[[account]]\naddress = "dora"\npassword = "hunter2"\n' + BASE,
        [
            'postmaster: "alice@example.org" → "dora@example.org"',
            'account["dora@example.org"]: not set → { address = "dora@example.org", password = "(hidden)" }',
        ],
    ),
    "a removed account": (
        BASE.replace('[[account]]\naddress = "bob"\npassword = "hunter2"\nquota = 7\n', ""),
        [f'account["bob@example.org"]: {BOB} → not set'],
    ),
    "a key of an account": (BASE.replace("quota = 7", ""), ['account["bob@example.org"].quota: 7 → not set']),
    "a listener": (BASE.replace("tcp:25", "tcp:26"), ['listen["smtp"].endpoint: "tcp:25" → "tcp:26"']),
    "listeners with one protocol": (
        BASE.replace('"pop3"', '"smtp"'),
        ['listen[2].protocol: "pop3" → "smtp"'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_changes(name: str, tmp_path: Path) -> None:
    after, expected = CHANGES[name]
    path = tmp_path / "mailserver.toml"
    found = []
    for text in (BASE, after):
        path.write_text(PREFIX + text)
        found.append(load(path))
    said = [str(change) for change in changes(*found)]
    assert said == expected
    assert not any("hunter2" in line.lower() for line in said)
