"""The passwd-file that Dovecot reads."""

import pytest

from mailserver.accounts.directory import Account
from mailserver.accounts.passwd_export import passwd_file
from mailserver.accounts.passwords import StoredPassword
from mailserver.mail.address import Address

SHA512 = "{SHA512-CRYPT}$6$salt$hash"


def line(address: str, password: str | None, *, disabled: bool = False) -> str:
    stored = None if password is None else StoredPassword.read(password)
    account = Account(Address.parse(address), stored, disabled=disabled)
    return passwd_file([account], 5000, 5001, lambda each: f"/mail/{each.local}")


@pytest.mark.parametrize(
    ("password", "written"),
    [
        ("$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA", "{ARGON2ID}$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA"),
        ("$argon2i$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA", "{ARGON2I}$argon2i$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA"),
        (SHA512, SHA512),
        ("{CRYPT}$5$salt$hash", "{SHA256-CRYPT}$5$salt$hash"),
        ("$2b$05$hash", "{BLF-CRYPT}$2b$05$hash"),
        ("$1$salt$hash", "{MD5-CRYPT}$1$salt$hash"),
        ("{SSHA256}abcd", "{SSHA256}abcd"),
        ("{SHA}abcd", "{SHA1}abcd"),
        ("{SSHA512.HEX}00ff", "{SSHA512}AP8="),
        ("secret:with a colon", "{PLAIN.B64}c2VjcmV0OndpdGggYSBjb2xvbg=="),
        ("{PLAIN}{SHA}", "{PLAIN.B64}e1NIQX0="),
    ],
)
def test_passwords(password: str, written: str) -> None:
    found = line("Alice@example.org", password)
    assert found == f"alice@example.org:{written}:5000:5001::/mail/Alice::\n"
    assert StoredPassword.read(written) == StoredPassword.read(password)


@pytest.mark.parametrize("password", [None, "{NONE}", "$apr1$salt$hash"])
def test_accounts_that_dovecot_could_not_let_in(password: str | None) -> None:
    assert line("alice@example.org", password) == ""


def test_names() -> None:
    assert line("alice@example.org", SHA512, disabled=True) == ""
    assert line('"a:b"@example.org', SHA512) == ""
    names = [each.partition(":")[0] for each in line("O'Brien@example.org", SHA512).splitlines()]
    assert sorted(names) == ["o'brien@example.org", "o\\'brien@example.org"]
