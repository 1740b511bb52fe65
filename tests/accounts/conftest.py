"""What the tests of this room share."""

from collections.abc import Iterator

import pytest

from mailserver.accounts.passwords import StoredPassword


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
