"""Stored passwords: every form that is read, also as other programs write it."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from argon2 import PasswordHasher, Type
from passlib import hash as passlib_hash

from mailserver.accounts.passwords import StoredPassword, hash_password
from mailserver.errors import AccountError
from mailserver.mail.schemes import SCHEMES
from tests.support.e2e.programs import need, run
from tests.support.runs import rest_slow

PASSWORDS = ["wonderland", "pass word", "p\u00e4ss", "ab" * 50]


@cache
def hashes(password: str) -> dict[str, str]:
    """The password in every form that is read."""
    crypt = {
        "SHA512-CRYPT": passlib_hash.sha512_crypt.using(rounds=1000).hash(password),
        "SHA256-CRYPT": passlib_hash.sha256_crypt.using(rounds=1000).hash(password),
        "BLF-CRYPT": passlib_hash.bcrypt.using(rounds=4).hash(password.encode()[:72]),
        "MD5-CRYPT": passlib_hash.md5_crypt.hash(password),
    }
    argon2 = PasswordHasher(time_cost=1, memory_cost=64).hash(password)
    argon2i = PasswordHasher(time_cost=1, memory_cost=64, type=Type.I).hash(password)
    return {
        "plain": password,
        "{PLAIN}": "{PLAIN}" + password,
        "{CLEARTEXT}, plain": "{CLEARTEXT}" + password,
        "argon2": argon2,
        "{ARGON2ID}": "{ARGON2ID}" + argon2,
        "{ARGON2I}": "{ARGON2I}" + argon2i,
        **{f"{{{name}}}": f"{{{name}}}{value}" for name, value in crypt.items()},
        **{f"bare {name}": value for name, value in crypt.items()},
        **{f"{{CRYPT}} {name}": f"{{CRYPT}}{value}" for name, value in crypt.items()},
        "htpasswd": passlib_hash.apr_md5_crypt.hash(password),
        "{SSHA}": passlib_hash.ldap_salted_sha1.hash(password),
        "{SSHA256}": passlib_hash.ldap_salted_sha256.hash(password),
        "{SSHA512}": passlib_hash.ldap_salted_sha512.hash(password),
        "{SHA}": passlib_hash.ldap_sha1.hash(password),
        "{SHA256.HEX}": "{SHA256.HEX}" + passlib_hash.hex_sha256.hash(password).upper(),
        "{SHA512.hex}": "{SHA512.HEX}" + passlib_hash.hex_sha512.hash(password),
        "{SHA512-CRYPT.HEX}": "{SHA512-CRYPT.HEX}" + crypt["SHA512-CRYPT"].encode().hex(),
    }


@pytest.mark.parametrize("form", hashes("x"))
@pytest.mark.parametrize("password", PASSWORDS, ids=["word", "blank", "umlaut", "long"])
def test_every_form_knows_its_password(form: str, password: str) -> None:
    stored = StoredPassword.read(hashes(password)[form])
    assert stored.verify(password)
    assert not stored.verify("X" + password[1:])
    assert not stored.verify("")
    assert stored.sound
    assert stored.outdated
    assert stored.slow == ("plain" not in form.lower())
    assert StoredPassword.read(stored.text) == stored


# doveadm pw -l, but for what is of no use to us: challenge-response digests, DES, MD4, MD5 without salt
DOVEADM = [
    "PLAIN", "CRYPT", "SHA512-CRYPT", "MD5-CRYPT", "SSHA512", "SHA1", "ARGON2ID", "SSHA256.B64",
    "CLEARTEXT", "CLEAR", "SHA256-CRYPT", "BLF-CRYPT", "SSHA256", "SSHA", "SHA512", "SHA256", "SHA",
    "ARGON2I", "SSHA.HEX", "SHA512.BASE64", "SHA512-CRYPT.HEX", "PLAIN.B64", "MD5-CRYPT.B64",
]  # fmt: skip


@pytest.mark.parametrize("scheme", rest_slow(DOVEADM, first=8))
def test_what_doveadm_writes(tmp_path: Path, scheme: str) -> None:
    doveadm = need("doveadm")
    for password in ("wonder land", "p\u00e4ss\u20ac"):
        # an empty configuration of its own: the machine's may not be there, or not be readable
        config = tmp_path / "dovecot.conf"
        config.touch()
        made = run(tmp_path, doveadm, "-c", config, "pw", "-s", scheme, "-p", password).stdout.decode()
        stored = StoredPassword.read(made.rstrip("\n"))
        assert stored.verify(password), made
        assert not stored.verify(password[:-1])
        assert stored.sound
        assert StoredPassword.read(stored.text) == stored


HEX = {
    "SHA": hashlib.sha1, "SHA1": hashlib.sha1, "SHA256": hashlib.sha256, "SHA512": hashlib.sha512,
    "SSHA": hashlib.sha1, "SSHA256": hashlib.sha256, "SSHA512": hashlib.sha512,
}  # fmt: skip


@pytest.mark.parametrize("scheme", HEX)
@pytest.mark.parametrize("suffix", ["", ".HEX", ".hex"])
def test_hexadecimal_digits_are_told_by_their_number(scheme: str, suffix: str) -> None:
    """As Dovecot guesses them, where no suffix names the encoding."""
    salt = b"salt" if scheme.startswith("SS") else b""
    digits = (HEX[scheme](b"wonderland" + salt).digest() + salt).hex()
    for value in (digits, digits.upper()):
        stored = StoredPassword.read(f"{{{scheme}{suffix}}}{value}")
        assert stored.sound
        assert stored.verify("wonderland")
        assert not stored.verify(value)
        assert StoredPassword.read(stored.text) == stored
    assert not StoredPassword.read(f"{{{scheme}.b64}}{digits}").verify("wonderland")


@pytest.mark.parametrize("form", [form for form in hashes("x") if form.startswith("{")])
@pytest.mark.parametrize("case", [str.lower, str.title])
def test_schemes_are_read_in_any_case(form: str, case: Callable[[str], str]) -> None:
    """Otherwise the text of the hash would be the password."""
    scheme, brace, value = hashes("wonderland")[form].partition("}")
    text = f"{case(scheme)}{brace}{value}"
    stored = StoredPassword.read(text)
    assert stored == StoredPassword.read(f"{scheme}{brace}{value}")
    assert stored.verify("wonderland")
    assert not any(map(stored.verify, (text, value.upper(), f"{scheme}{brace}{value}")))


# Salts that crypt(3) and crypt(5) do not promise, and libxcrypt takes all the same.
SALTS = ["ab+cd=ef", "a_b", "a-b", "a@b.example", "#%&,", "~`'\"", "(a)[b]", "9", "0123456789abcd+="]


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize("prefix", ["$6$", "$6$rounds=1234$", "$5$", "$5$rounds=1234$", "$1$"])
def test_any_salt_that_libxcrypt_takes(tmp_path: Path, prefix: str, salt: str) -> None:
    program = "print crypt($_, $ARGV[0]), qq(\\n) for @ARGV[1..$#ARGV]"
    salt = salt[:8] if prefix == "$1$" else salt
    passwords = ("pw", "p\u00e4ss wort " * 3)
    all_made = run(tmp_path, need("perl"), "-e", program, f"{prefix}{salt}$", *passwords).stdout.decode()
    for password, made in zip(passwords, all_made.splitlines(), strict=True):
        assert made.startswith(f"{prefix}{salt}$")
        stored = StoredPassword.read(made)
        assert stored.sound
        assert stored.verify(password)
        assert not stored.verify(password + "x")


def test_a_salt_of_the_issue() -> None:
    """What perl's crypt("pw", ...) prints on Debian 12."""
    made = (
        "$6$ab+cd=ef$/5/2wojYFIl3w1TylyRiNxJp8l/wVCkOJkmN/Q/gpRYLAm9SBWHe8v06.pLl0NFdY6f0DsqMnKLow5upoqZJX."
    )
    assert StoredPassword.read(made).verify("pw")
    assert StoredPassword.read(f"{{crypt}}{made}").verify("pw")
    assert not StoredPassword.read(f"{{crypt}}{made}").verify(made)


@pytest.mark.parametrize("salt", ["a+b=c", "a-b@c"])
@pytest.mark.parametrize(
    ("option", "scheme"), [("-6", "sha512_crypt"), ("-5", "sha256_crypt"), ("-apr1", "apr_md5_crypt")]
)
def test_any_salt_of_openssl(tmp_path: Path, option: str, scheme: str, salt: str) -> None:
    made = run(tmp_path, need("openssl"), "passwd", option, "-salt", salt, "pw").stdout.decode().strip()
    stored = StoredPassword.read(made)
    assert stored.scheme == scheme
    assert stored.sound
    assert stored.verify("pw")
    assert not stored.verify("pW")


def test_every_scheme_is_tried() -> None:
    assert set(SCHEMES) == {scheme.partition(".")[0] for scheme in DOVEADM} | {"NONE"}


# What "openssl passwd -6 -salt saltsalt wonderland" prints.
OPENSSL = "$6$saltsalt$pqxtaP8VN9msji06dnBCbUbaSGTOXyo9jZDqZxik1rPexoqRIW4UKuiD0ZHZchCSd7S4/HoRU8bcFbnz2ihUr."


def test_a_hash_made_by_another_program() -> None:
    assert StoredPassword.read(OPENSSL).verify("wonderland")
    assert StoredPassword.read("{SHA512-CRYPT}" + OPENSSL).verify("wonderland")
    assert not StoredPassword.read(OPENSSL).verify("Wonderland")


DAMAGED = [
    "$argon2id$", "$argon2id$v=19$m=64,t=1,p=1$AAAA", "{ARGON2ID}x", "{SHA512-CRYPT}$6$", "{SHA512-CRYPT}x",
    "{CRYPT}$5$salt", "{SSHA256}!!", "{SSHA256}YvIEqg==", "{SHA}", "{BLF-CRYPT}$2y$", "$2y$99", "$1$salt$x",
    "$apr1$", "{MD5-CRYPT}", "{SHA512-CRYPT}$5$x", "{ARGON2ID}$argon2i$x", "{SSHA}", "{SSHA512}$x",
    "{BLF-CRYPT}$2x$x", "$6$s\u00e4lt$x",
    # digests of another length than the scheme has
    "{SHA256}" + "ab" * 64, "{SHA512}" + "ab" * 32, "{SHA}" + "ab" * 16, "{SSHA256}" + "ab" * 20,
    "{SHA256}YvIEqfLmzVWnsJ0O7n7AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", "{SHA.HEX}" + "ab" * 21,
]  # fmt: skip


@pytest.mark.parametrize("damaged", DAMAGED)
def test_a_damaged_hash_matches_nothing(damaged: str) -> None:
    stored = StoredPassword.read(damaged)
    for password in ("", damaged, stored.value, "x\0"):
        assert not stored.verify(password)
    assert not stored.sound
    assert StoredPassword.read(stored.text) == stored


@pytest.mark.parametrize("text", ["{NONE}", "{NONE}x"])
def test_none_matches_nothing(text: str) -> None:
    stored = StoredPassword.read(text)
    assert not any(map(stored.verify, ["", "x", text, "{NONE}"]))
    assert not stored.slow


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{DES-CRYPT}abcdefghijklm", "unknown password scheme {DES-CRYPT}; known: ARGON2ID, .*NONE"),
        ("{Scram-SHA-256}secret", "unknown password scheme {SCRAM-SHA-256}"),
        ("{SHA.ROT13}secret", "unknown password scheme; .*HEX, .B64 or .BASE64"),
        ("{secret}secret", "unknown password scheme; .*as {PLAIN}{"),
        ("{}secret", "unknown password scheme"),
        ("{{secret}}", "unknown password scheme"),
        ("{se cret\n}", "unknown password scheme"),
        ("{PLAIN.}secret", "unknown password scheme"),
        ("{CRYPT}$y$secret", r"unknown kind of hash after {CRYPT}; known: \$argon2id\$, "),
        ("{CRYPT}secret", "unknown kind of hash after {CRYPT}"),
        ("$y$j9T$secret", "unsupported kind, such as yescrypt"),
        ("$2x$05$secret", "unsupported kind"),
        ("{SSHA.HEX}secret", "not HEX"),
        ("{SSHA.B64}se?ret", "not B64"),
        ("{PLAIN.HEX}ff", "not HEX"),
    ],
)
def test_what_cannot_be_read_is_named_and_not_shown(text: str, told: str) -> None:
    with pytest.raises(AccountError, match=told) as caught:
        StoredPassword.read(text)
    assert "secret" not in str(caught.value)


def test_what_is_up_to_date() -> None:
    stored = StoredPassword.read(hash_password("wonderland"))
    assert stored.verify("wonderland")
    assert stored.sound
    assert not stored.outdated
    for changed in (stored.value.replace("m=65536", "m=65535"), stored.value.replace("t=3", "t=4")):
        assert StoredPassword.read(changed).outdated
    assert StoredPassword.read("$argon2id$damaged").outdated


def test_a_stored_password_does_not_show_itself() -> None:
    for text in hashes("wonderland").values():
        stored = StoredPassword.read(text)
        assert stored.value not in repr(stored)
