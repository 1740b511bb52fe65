import os
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.store import names
from mailserver.store.names import UniqueNames, mailbox_path

ROOT = Path("/data/mail")


@pytest.mark.parametrize(
    ("local", "domain", "folder"),
    [
        ("alice", "example.org", "example.org/alice"),
        ("Alice", "EXAMPLE.org", "example.org/alice"),
        ("a.b_c-d+e9", "example.org", "example.org/a.b_c-d+e9"),
        ("a/b", "example.org", "example.org/a%2fb"),
        (".", "..", "%2e./%2e"),
        ("..", "example.org", "example.org/%2e."),
        ("a..", "example.org", "example.org/a.."),
        (".hidden", "example.org", "example.org/%2ehidden"),
        ("a%2fb", "example.org", "example.org/a%252fb"),
        ("a b\x00c\n", "example.org", "example.org/a%20b%00c%0a"),
        ("jürgen", "example.org", "example.org/j%c3%bcrgen"),
        ("JÜRGEN", "example.org", "example.org/j%c3%bcrgen"),
        ("alice", "[192.0.2.1]", "%5b192.0.2.1%5d/alice"),
        ("alice", "[IPv6:::1]", "%5bipv6%3a%3a%3a1%5d/alice"),
        ("a" * 255, "example.org", "example.org/" + "a" * 255),
        ("\udc80", "example.org", "example.org/%ed%b2%80"),
    ],
)
def test_folders_of_mailboxes(local, domain, folder):
    assert ROOT / mailbox_path(Address(local, domain)) == ROOT / folder


@pytest.mark.parametrize(
    ("local", "domain"),
    [("", "example.org"), ("alice", ""), ("a" * 256, "example.org"), ("/" * 86, "d"), ("a", "d" * 300)],
)
def test_names_that_cannot_be_folders(local, domain):
    with pytest.raises(StorageError):
        ROOT / mailbox_path(Address(local, domain))


def test_the_refusal_of_a_long_name_says_why():
    with pytest.raises(StorageError, match="300 octets"):
        ROOT / mailbox_path(Address("a" * 300, "example.org"))


any_text = st.text(st.characters(), max_size=100) | st.text("./%\x00aA\udc80é", max_size=12)
addresses = st.builds(Address, any_text, any_text)


@given(addresses)
@example(Address("..", ".."))
@example(Address("\x00", "/"))
def test_no_name_leaves_the_root(address):
    try:
        folder = ROOT / mailbox_path(address)
    except StorageError:
        return
    assert Path(os.path.normpath(folder)) == folder
    assert folder.parent.parent == ROOT
    for part in (folder.name, folder.parent.name):
        assert 0 < len(os.fsencode(part)) <= 255
        assert not part.startswith(".")
        assert set(part) <= set("abcdefghijklmnopqrstuvwxyz0123456789._+-%")


@given(addresses, addresses)
@example(Address("%2e", "d"), Address(".", "d"))
@example(Address("a/b", "d"), Address("a%2fb", "d"))
def test_different_mailboxes_have_different_folders(one, other):
    try:
        folders = {ROOT / mailbox_path(one), ROOT / mailbox_path(other)}
    except StorageError:
        return
    same = [(each.local.casefold(), each.domain.casefold()) for each in (one, other)]
    assert len(folders) == len(set(same))


HOSTS = ["mail.example.org", "a/b:c", "x,S=9", "", "h" * 300, "ümlaut", "two words\n", "/" * 40]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("clock", [0, 1_700_000_000_123_456_789, 99_999_999_999_999_999_999])
def test_unique_names_are_their_unique_ids(host, clock):
    unique = UniqueNames(host, lambda: clock).next()
    assert 1 <= len(unique) <= 70
    base = names.with_sizes(unique, 120, 122)
    assert names.base_name(base + ":2,S") == base
    assert names.uid(base) == unique
    assert names.is_own(base)
    assert names.claimed_sizes(base) == (120, 122)
    assert len(base) < 200
    assert "/" not in base


def test_the_escapes_that_maildir_asks_for():
    assert UniqueNames("a/b:c").next().endswith(".a\\057b\\072c")


def test_names_differ_when_the_clock_stands_still_or_goes_back():
    for clock in (lambda: 10**18, iter(range(10**18, 0, -(10**12))).__next__):
        generator, other_process = UniqueNames("host", clock), UniqueNames("host", clock)
        made = [source.next() for _ in range(500) for source in (generator, other_process)]
        assert len(set(made)) == 1000


def test_names_sort_by_time_then_count():
    times = iter([5_000_000_000, 5_000_000_000, 5_000_001_000, 12_000_000_000])
    generator = UniqueNames("host", lambda: next(times))
    made = [generator.next() for _ in range(4)]
    for mixed in permutations(made):
        assert sorted(mixed, key=names.order) == made
    # More than nine at one moment: by count, not by character.
    generator = UniqueNames("host", lambda: 0)
    made = [generator.next() for _ in range(120)]
    backwards = made[::-1]
    assert sorted(backwards, key=names.order) == made


def test_order_of_foreign_names():
    expected = ["5.a", "12.b", "12.c", "12.M1P1.a", "12.M2P1.a", "12.M2P1Q1.a", "100", "", "a", "a1", "٣.x"]
    backwards = expected[::-1]
    assert sorted(backwards, key=names.order) == expected


@pytest.mark.parametrize(
    ("base", "uid"),
    [
        ("1234.5.host", "1234.5.host"),
        ("1234.5.host,S=1,W=1", "1234.5.host,S=1,W=1"),
        ("X,S=20", "X,S=20"),
        (",S=1", ",S=1"),
        ("!~", "!~"),
        ("a" * 70, "a" * 70),
        ("x" + "0" * 39, "x" + "0" * 39),
    ],
)
def test_unique_ids_of_foreign_names(base, uid):
    assert names.uid(base) == uid


@pytest.mark.parametrize("uid", ["0000000a5d3c", "a/b:c%,=~", "!" * 70, "x" + "0" * 40])
@pytest.mark.parametrize("base", ["1234.5.host", "1234.5.host,S=1,W=1", "a" * 80])
def test_a_name_keeps_the_unique_id_of_another_server(base, uid):
    kept = names.with_uid(base, uid)
    assert kept.startswith(f"{base},")
    assert not set("/:") & set(kept)
    assert names.uid(kept) == names.kept_uid(kept) == uid
    assert names.unique_part(kept) == names.unique_part(base)
    assert names.claimed_sizes(kept) == names.claimed_sizes(base)


@pytest.mark.parametrize("utf8", [False, True])
def test_a_name_of_this_server_with_a_kept_unique_id(utf8):
    base = names.with_sizes(UniqueNames("host").next(), 120, 122, utf8=utf8)
    kept = names.with_uid(base, "old")
    assert names.own_sizes(kept) == (120, 122)
    assert names.has_utf8(kept) is utf8
    assert names.uid(kept) == "old"


@pytest.mark.parametrize("field", [",UIDL=", ",UIDL=%20", ",UIDL=" + "a" * 71, ",UIDL=a,S=1", ",uidl=a"])
def test_what_is_no_kept_unique_id(field):
    assert names.kept_uid(f"a{field}") is None
    assert names.uid(f"a{field}") in (f"a{field}", names.digest(f"a{field}"))


@pytest.mark.parametrize(
    "base", ["a" * 71, "", "a" * 66 + ",S=12", "a b", "tab\t", "é", "\udcff", "x" + "0" * 40]
)
def test_a_name_that_is_no_unique_id_gets_a_digest(base):
    assert names.uid(base) == names.digest(base)
    assert len(names.digest(base)) == 41
    assert names.digest(base) != names.digest(base + ",S=1")


@pytest.mark.parametrize(
    ("base", "sizes"),
    [
        ("a,S=1,W=2", (1, 2)),
        ("a,W=2,S=1", (1, 2)),
        ("a,S=1,X=3,W=2", (1, 2)),
        ("a,S=1", None),
        ("a,W=1", None),
        ("a", None),
        ("a,S=1x,W=2", None),
        ("a,S=,W=2", None),
        ("a,S=-1,W=2", None),
        ("aS=1W=2", None),
        ("a,S=" + "9" * 100 + ",W=1", None),
        ("a,S=٣,W=٣", None),
    ],
)
def test_sizes_in_names(base, sizes):
    assert names.claimed_sizes(base) == sizes


@given(st.binary(max_size=255))
def test_any_file_name_will_do(raw):
    name = os.fsdecode(raw)
    base = names.base_name(name)
    names.order(base)
    names.claimed_sizes(base)
    assert 1 <= len(names.uid(base)) <= 70
