"""What the tests of this room share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from mailserver.accounts import passwords
from mailserver.accounts.passwords import StoredPassword


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing costs little."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "accounts.db"


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The kinds of all passwords that were verified, in order."""
    kinds: list[str] = []
    verify = StoredPassword.verify

    def counted(self: StoredPassword, password: str) -> bool:
        kinds.append(self.kind)
        return verify(self, password)

    monkeypatch.setattr(StoredPassword, "verify", counted)
    yield kinds
