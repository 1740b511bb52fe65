"""Counts, and many names in a few words."""

import json

import pytest

from mailserver.mail.address import Address
from mailserver.mail.words import IN_FIELD, AddressNames, counted


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 recipients"), (1, "1 recipient"), (2, "2 recipients")],
)
def test_counted(number: int, text: str) -> None:
    assert counted(number, "recipient") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (1, "<a0@b>"),
        (2, "<a0@b>, <a1@b>"),
        (3, "<a0@b>, <a1@b>, <a2@b>"),
        (4, "<a0@b>, <a1@b>, <a2@b> and 1 more"),
        (1000, "<a0@b>, <a1@b>, <a2@b> and 997 more"),
    ],
)
def test_names(count: int, text: str) -> None:
    names = AddressNames(Address(f"a{number}", "b") for number in range(count))
    assert f"{names}" == text
    assert json.loads(json.dumps({"names": names}, default=str))["names"] == [
        f"a{number}@b" for number in range(min(count, IN_FIELD))
    ]
