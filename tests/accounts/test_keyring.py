"""Keys for SCRAM, CRAM-MD5 and APOP: who has some, and that nobody learns who has none."""

import hashlib
import hmac
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred

from mailserver.accounts import keyring as keys_module
from mailserver.accounts.credentials import SCRAM_ITERATIONS, SCRAM_SALT, make_credentials
from mailserver.accounts.directory import Account
from mailserver.accounts.keyring import KeyRing
from mailserver.errors import AccountError
from mailserver.sasl.scram import derive_keys
from mailserver.sasl.steps import ScramKeys
from mailserver.threads.fair import FairThreadPool
from tests.support.accounts.people import HASHED, account, directory
from tests.support.reactor import FakeReactor

DUMMY = b"dummy" * 8
KEPT = ScramKeys(b"s" * SCRAM_SALT, SCRAM_ITERATIONS, b"k" * 32, b"v" * 32)
ACCOUNTS = [
    account("plain", "wonderland"),
    account("kept", HASHED, scram={"sha256": KEPT}, stored=True),
    account("hashed", HASHED),
    account("secret", HASHED, secret="rabbit hole"),
    account("roman", "\u2168 lives"),
    account("bare"),
    account("off", "wonderland", disabled=True),
]


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that keys were derived of."""
    found: list[str] = []

    def counted(password: str, hash_name: str, salt: bytes, iterations: int) -> ScramKeys:
        assert iterations == SCRAM_ITERATIONS
        made = derive_keys(password, hash_name, salt, 1)
        found.append(password)
        return made

    monkeypatch.setattr(keys_module, "derive_keys", counted)
    return found


@attrs.define
class Ring:
    ring: KeyRing
    threads: FakeReactor

    def scram(self, name: str, hash_name: str = "sha256") -> ScramKeys:
        found: list[Any] = []
        self.ring.scram(name, hash_name).addBoth(found.append)
        (keys,) = found
        assert isinstance(keys, ScramKeys), keys
        return keys


def ring(*accounts: Account, dummy_key: bytes = DUMMY, held: bool = False) -> Ring:
    threads = FakeReactor(held=held)
    pool = FairThreadPool(FakeReactor(), threads, 2)  # type: ignore[arg-type]
    return Ring(KeyRing(directory(*(accounts or ACCOUNTS)), dummy_key, pool), threads)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
@pytest.mark.parametrize(("name", "password"), [("plain", "wonderland"), ("secret", "rabbit hole")])
def test_keys_of_who_keeps_the_password(name: str, password: str, hash_name: str) -> None:
    keys = ring().scram(name, hash_name)
    assert keys == derive_keys(password, hash_name, keys.salt, SCRAM_ITERATIONS)


def test_kept_keys() -> None:
    assert ring().scram("KEPT@example.org") == KEPT


@pytest.mark.parametrize(
    "name", ["hashed", "bare", "off", "nobody", "nobody@elsewhere.example", "", "no@body@"]
)
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_who_has_none_gets_keys_that_look_like_any(name: str, hash_name: str, derived: list[str]) -> None:
    keys = ring().scram(name, hash_name)
    real = ring().scram("plain", hash_name)
    assert len(keys.salt) == len(real.salt) == SCRAM_SALT
    assert keys.iterations == real.iterations or real.iterations == 1
    assert len(keys.stored_key) == len(keys.server_key) == hashlib.new(hash_name).digest_size
    # No password fits: not the empty one, not the name.
    for password in ("", name, "wonderland", keys_module.DUMMY_PASSWORD):
        assert derive_keys(password, hash_name, keys.salt, 1).stored_key != keys.stored_key


@pytest.mark.parametrize("name", ["plain", "nobody", "hashed", "off"])
def test_the_salt_is_the_same_after_every_start_and_depends_on_the_secret(
    name: str, derived: list[str]
) -> None:
    salt = ring().scram(name).salt
    assert ring().scram(name).salt == salt == ring().scram(f"{name.upper()}@EXAMPLE.org").salt
    assert ring(dummy_key=b"another" * 8).scram(name).salt != salt
    assert ring().scram(name, "sha1").salt != salt
    assert ring().scram(name + "x").salt != salt
    assert salt != hmac.digest(b"", name.encode(), "sha256")[:SCRAM_SALT]


@pytest.mark.parametrize("name", ["plain", "kept", "hashed", "secret", "bare", "off", "nobody", "no@body@"])
def test_the_first_question_for_any_name_costs_one_derivation(name: str, derived: list[str]) -> None:
    keys = ring()
    first = keys.scram(name)
    assert len(derived) == 1
    assert [keys.scram(name), keys.scram(name)] == [first] * 2
    assert len(derived) == 1
    keys.scram(name, "sha1")
    assert len(derived) == 2


def test_deriving_waits_for_threads(derived: list[str]) -> None:
    keys = ring(held=True)
    asked: list[Deferred[ScramKeys]] = [
        keys.ring.scram(name, "sha256") for name in ("plain", "nobody", "kept")
    ]
    assert not any(one.called for one in asked)
    for _ in range(2):
        keys.threads.run_threads()
    assert all(one.called for one in asked)


def test_other_accounts(derived: list[str]) -> None:
    keys = ring()
    before, nobody = keys.scram("plain"), keys.scram("nobody")
    keys.ring.replace(directory(account("plain", "rabbit"), account("nobody", "x")), DUMMY)
    after = keys.scram("plain")
    assert after.salt == before.salt and after.stored_key != before.stored_key
    assert keys.scram("nobody").salt == nobody.salt and keys.scram("nobody") != nobody
    keys.ring.replace(directory(account("plain", "rabbit", disabled=True)), DUMMY)
    assert keys.scram("plain").salt == before.salt and keys.scram("plain") != after


def test_another_secret_makes_other_salts(derived: list[str]) -> None:
    keys = ring()
    before = keys.scram("plain"), keys.scram("nobody")
    keys.ring.replace(directory(*ACCOUNTS), b"another")
    assert keys.scram("plain").salt != before[0].salt
    assert keys.scram("nobody").salt != before[1].salt


def test_only_so_many_are_remembered(derived: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "REMEMBERED", 3)
    keys = ring()
    for number in range(5):
        keys.scram("plain")
        keys.scram(f"nobody{number}")
    assert len(keys.ring._made) == 3
    assert derived.count("wonderland") == 1


@pytest.mark.parametrize(
    ("name", "secret"),
    [("plain", "wonderland"), ("PLAIN@example.org", "wonderland"), ("secret", "rabbit hole"),
     ("roman", "IX lives"), ("hashed", None),
     ("kept", None), ("bare", None), ("off", None), ("nobody", None)],
)  # fmt: skip
def test_secrets(name: str, secret: str | None) -> None:
    assert ring().ring.secret(name) == secret


@pytest.mark.parametrize(
    ("password", "octets"),
    [("x" * 1024, 1024), ("\u00e9" * 512, 1024), ("x" * 1025, 1025), ("\u00e9" * 513, 1026)],
)
def test_a_password_is_never_longer_than_one_that_can_log_in(password: str, octets: int) -> None:
    if octets <= 1024:
        assert make_credentials(password).password is not None
    else:
        with pytest.raises(AccountError, match="longer than 1024 octets"):
            make_credentials(password)
