"""dovecot-uidlist, and the unique-ids that Dovecot makes of it."""

from pathlib import Path

import pytest

from mailserver.errors import StorageError
from mailserver.migration.dovecot import DEFAULT_FORMAT, InvalidFormat, UIDFormat, parse_uidlist, read_uidlist

HEAD = b"3 V1700000000 N9 G5d1a0e3ad7b2\n"
ONE = HEAD + b"7 W123 :1700000000.M1P1.host,S=120:2,S\n"
NAME = "1700000000.M1P1.host,S=120"


@pytest.mark.parametrize(
    ("format", "uid"),
    [
        (DEFAULT_FORMAT, "000000076553f100"),
        ("%{uid | hex(8)}%{uidvalidity | hex(8)}", "000000076553f100"),
        ("%{uidvalidity|hex}.%{uid}", "6553f100.7"),
        ("%v.%u", "1700000000.7"),
        ("%Xv", "6553f100"),
        ("%f", NAME),
        ("%{filename}", NAME),
        ("%g", NAME),
        ("UID%u-%v", "UID7-1700000000"),
        ("%03u", "007"),
    ],
)
def test_formats(format: str, uid: str) -> None:
    assert parse_uidlist(ONE).uids(UIDFormat(format)) == {NAME: uid}


@pytest.mark.parametrize("format", ["", "uid", "%m", "%08Xz", "%", "%{sdbox}", "%{uid | md5}", "%Lf"])
def test_unsupported_formats(format: str) -> None:
    with pytest.raises(InvalidFormat, match="allowed: %u"):
        UIDFormat(format)


@pytest.mark.parametrize(
    ("lines", "uids"),
    [
        (b"", {}),
        (b"1 :a\n2 :b\n", {"a": "1", "b": "2"}),
        (b"1 W5 S6 G0123 :a:2,S\n", {"a": "1"}),
        (b"1 Psaved :a\n", {"a": "saved"}),
        (b"1 P :a,S=5\n", {"a,S=5": "a,S=5"}),  # an empty one is the name of the file
        (b"1 :a\n2 :a\n", {"a": "2"}),  # a later line counts
        (b"1 :a\n2 :incompl", {"a": "1"}),
        (b"1 Pno\xfcid :a\n", {}),  # no unique-id of POP3
        (b"1 :with :colons\n", {"with ": "1"}),
    ],
)
def test_lines(lines: bytes, uids: dict[str, str]) -> None:
    assert parse_uidlist(HEAD + lines).uids(UIDFormat("%u")) == uids


def test_the_older_form() -> None:
    found = parse_uidlist(b"1 1700000000 9\n7 1700000000.M1P1.host:2,S\n")
    assert found.uids(UIDFormat("%u.%v")) == {"1700000000.M1P1.host": "7.1700000000"}


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"2 V1 N2\n", b"3 N2\n", b"3 Vx N2\n", b"3 V99999999999 N2\n", HEAD + b"x :a\n",
     HEAD + b"1 a\n", HEAD + b"1 :\n", b"\xff\x00\n", b"1\n"],
)  # fmt: skip
def test_what_is_no_uidlist(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "dovecot-uidlist").write_bytes(data)
    with pytest.raises(StorageError, match="is not a uidlist of Dovecot"):
        read_uidlist(tmp_path)
