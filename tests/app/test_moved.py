"""The record of mailboxes that have moved to other names."""

from pathlib import Path

import pytest

from mailserver.app.moved import MovedMailboxes
from mailserver.errors import AccountError, StorageError
from mailserver.mail.address import Address

A, B, C = (Address.parse(f"{name}@example.org") for name in ("a", "b", "c"))


def opened(path: Path) -> MovedMailboxes:
    moved = MovedMailboxes(path)
    moved.open()
    return moved


@pytest.mark.parametrize(
    ("moves", "there", "mailbox", "current"),
    [
        ([], [A], A, A),
        ([(A, B)], [B], A, B),
        ([(A, B)], [B], B, B),
        ([(A, B), (B, C)], [C], A, C),
        ([(A, B)], [A], A, A),  # not in force yet, or another account has the name
        ([(A, B), (B, A)], [A], B, A),
        ([(A, B), (B, A)], [], A, A),  # nobody is there
    ],
)
def test_where_a_mailbox_is(
    tmp_path: Path, moves: list[tuple[Address, Address]], there: list[Address], mailbox: Address,
    current: Address,
) -> None:  # fmt: skip
    moved = opened(tmp_path / "moved")
    for old, new in moves:
        moved.add({old: new})
    for each in (moved, opened(tmp_path / "moved")):
        assert each.current(mailbox, there.__contains__) == current


def test_a_name_that_another_account_gets(tmp_path: Path) -> None:
    moved = opened(tmp_path / "moved")
    moved.add({A: C, B: C})
    assert moved.pending([C].__contains__) == {A: C, B: C}
    box = tmp_path / "mail/example.org/a"
    box.mkdir(parents=True)
    with pytest.raises(AccountError, match="must first move"):
        moved.release(A)
    box.rmdir()
    moved.release(A)
    assert opened(tmp_path / "moved").pending([C].__contains__) == {B: C}
    moved.prune([B].__contains__)
    assert opened(tmp_path / "moved").pending([C].__contains__) == {}


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[["a","b","c"]]', '[["a", "b@example.org"]]', "3"])
def test_a_damaged_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "moved").write_text(text)
    with pytest.raises(StorageError, match="moved"):
        opened(tmp_path / "moved")
