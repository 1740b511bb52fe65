"""What ``verify`` finds in Maildirs: each kind of damage, nothing else, and nothing is changed."""

import os
import socket
import time
from pathlib import Path

import pytest

from mailserver.mail.finding import Finding
from mailserver.store import verify as module
from mailserver.store.verify import verify

OURS = "1700000000.M000001P1Q1R0123456789ab.host"
FOREIGN = "1700000000.M000001P1.host"
LONG_AGO = time.time() - 37 * 3600


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0)


@pytest.fixture
def box(tmp_path) -> Path:
    """The mailbox of alice, with nothing wrong and nothing in it."""
    box = tmp_path / "mail/example.org/alice"
    for folder in (box.parents[1], box.parent, box, box / "cur", box / "new", box / "tmp"):
        folder.mkdir(mode=0o700)
    return box


def put(path: Path, data: bytes = b"", mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def look(box: Path) -> tuple[list[str], list[tuple[str, str, str]]]:
    """What was looked at, and the findings with paths below the mailbox's domain. Nothing may change."""
    root = box.parents[1]
    before = {path: path.lstat() for path in sorted(root.rglob("*"))}
    kinds, findings = [], []
    for found in verify(root):
        if isinstance(found, Finding):
            place = os.path.relpath(found.path, box)
            findings.append((place, found.wrong, found.repair))
        else:
            kinds.append(found)
    after = {path: path.lstat() for path in sorted(root.rglob("*"))}
    assert [(path, status.st_mtime_ns, status.st_mode) for path, status in after.items()] == [
        (path, status.st_mtime_ns, status.st_mode) for path, status in before.items()
    ]
    return kinds, findings


def test_no_mailboxes_at_all(tmp_path):
    assert list(verify(tmp_path / "missing")) == []


def test_an_empty_mailbox_is_well(box):
    assert look(box) == (["mailbox"], [])


WELL = [
    (f"{OURS},S=6,W=6", b"line\r\n"),
    (f"{OURS},S=6,W=6:2,S", b"line\r\n"),
    (f"{OURS},S=4,W=6", b"line"),
    (f"{OURS},S=0,W=0", b""),
    (f"{FOREIGN}", b"line\n"),
    (f"{FOREIGN},S=5", b"line\n"),
    (f"{FOREIGN},S=5,W=6:2,FS", b"line\n"),
    (f"{FOREIGN},W=6,S=5,X=y:2,abc", b"line\n"),
    (f"{FOREIGN},S=6,W=7", b"a\r\nb\nc"),
    ("noise", b"line\n"),
    ("é \udcff\n", b"line\n"),
    ("1.h,S=400000,W=600000", b"l\n" * 200_000),
]


@pytest.mark.parametrize("folder", ["new", "cur"])
@pytest.mark.parametrize(("name", "data"), WELL, ids=ascii)
def test_a_good_file(box, folder, name, data):
    put(box / folder / name, data)
    assert look(box) == (["mailbox", "message"], [])


BAD_NAMES = [
    (f"{OURS},S=7,W=7", b"line\r\n", "S=7 in its name should be S=6 and W=7 in its name should be W=6",
     f"be renamed to {OURS},S=6,W=6"),
    (f"{OURS},S=6,W=8:2,S", b"line\r\n", "W=8 in its name should be W=6",
     f"be renamed to {OURS},S=6,W=6:2,S"),
    (f"{OURS},S=4,W=4", b"line", "W=4 in its name should be W=6", f"be renamed to {OURS},S=4,W=6"),
    (f"{OURS},S=600,W=600", b"", "S=600 in its name should be S=0 and W=600 in its name should be W=0",
     f"be renamed to {OURS},S=0,W=0"),
    (f"{FOREIGN},S=5,W=5,X=y", b"line\n", "W=5 in its name should be W=6",
     f"be renamed to {FOREIGN},S=5,W=6,X=y"),
    (f"{FOREIGN},S=6", b"line\n", "S=6 in its name should be S=5", f"be renamed to {FOREIGN},S=5"),
    (f"{FOREIGN},S=,W=-1", b"", "S= in its name should be S=0 and W=-1 in its name should be W=0",
     f"be renamed to {FOREIGN},S=0,W=0"),
    (f"{FOREIGN},S={'9' * 100}", b"", f"S={'9' * 100} in its name should be S=0",
     f"be renamed to {FOREIGN},S=0"),
    (f"{FOREIGN}:S", b"", "has a name that is invalid in a Maildir", "be served nevertheless"),
    (f"{FOREIGN}:", b"", "has a name that is invalid in a Maildir", "be served nevertheless"),
    (",S=0,W=0", b"", "has a name that is invalid in a Maildir", "be served nevertheless"),
]  # fmt: skip


@pytest.mark.parametrize("folder", ["new", "cur"])
@pytest.mark.parametrize(("name", "data", "wrong", "repair"), BAD_NAMES, ids=lambda value: ascii(value)[:20])
def test_a_name_that_does_not_fit(box, folder, name, data, wrong, repair):
    put(box / folder / name, data)
    assert look(box) == (["mailbox", "message"], [(f"{folder}/{name}", wrong, repair)])


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


NO_FILES = {
    "folder": Path.mkdir,
    "fifo": os.mkfifo,
    "socket": make_socket,
    "dangling link": lambda path: path.symlink_to("/nonexistent"),
    "link to a file": lambda path: path.symlink_to(__file__),
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("folder", ["new", "cur", "tmp"])
def test_what_is_no_regular_file(box, folder, make):
    make(box / folder / "1.2.host")
    kinds, [(place, wrong, _)] = look(box)
    assert (kinds, place, wrong) == (["mailbox"], f"{folder}/1.2.host", "is not a regular file")


@pytest.mark.parametrize("folder", [".", "cur", "new", "tmp", ".."])
@pytest.mark.parametrize("mode", [0o755, 0o701, 0o500])
def test_the_mode_of_a_folder(box, folder, mode):
    (box / folder).chmod(mode)
    assert look(box)[1] == [(folder, f"has mode {mode:04o}", "get mode 0700")]
    (box / folder).chmod(0o700)


@pytest.mark.parametrize(("mode", "better"), [(0o644, 0o600), (0o660, 0o600), (0o404, 0o400)])
def test_the_mode_of_a_file(box, mode, better):
    put(box / "new" / FOREIGN, mode=mode)
    wrong = f"has mode {mode:04o}, so others may use it"
    assert look(box)[1] == [(f"new/{FOREIGN}", wrong, f"get mode {better:04o}")]


@pytest.mark.parametrize("missing", [("cur",), ("new", "tmp"), ("new", "cur", "tmp")], ids="+".join)
def test_a_folder_is_missing(box, missing):
    for folder in missing:
        (box / folder).rmdir()
    assert look(box) == (["mailbox"], [(folder, "is missing", "be created") for folder in missing])


def test_a_mailbox_in_the_making_is_well(box, monkeypatch):
    (box / "tmp").rmdir()
    monkeypatch.setattr("time.sleep", lambda seconds: (box / "tmp").mkdir(mode=0o700))
    assert [found for found in verify(box.parents[1]) if isinstance(found, Finding)] == []


@pytest.mark.parametrize("folder", ["cur", "new", "tmp"])
@pytest.mark.parametrize("make", [put, lambda path: path.symlink_to("/")], ids=["file", "link"])
def test_a_folder_is_none(box, folder, make):
    (box / folder).rmdir()
    make(box / folder)
    [(place, wrong, _)] = look(box)[1]
    assert (place, wrong) == (folder, "is not a folder")


def test_what_is_beside_domains_and_mailboxes(box):
    put(box.parent / "notes.txt")
    put(box.parents[1] / "README")
    (box.parents[1] / "lost+found").mkdir(mode=0o755)
    (box.parents[1] / "elsewhere.example").symlink_to("/nonexistent")
    (box.parent / "bob").symlink_to(box)
    put(box / "dovecot-uidlist")  # and what other programs keep in a mailbox is theirs
    (box / ".Sent").mkdir()
    kinds, findings = look(box)
    assert kinds == ["mailbox", "mailbox"]
    assert findings == [
        ("../../README", "is not a folder", "be left alone"),
        ("../../elsewhere.example", "cannot be read: No such file or directory", "be left alone"),
        ("../notes.txt", "is not a folder", "be left alone"),
    ]


def test_temporary_files(box):
    put(box / "tmp" / "young")
    os.utime(put(box / "tmp" / "old"), (LONG_AGO, LONG_AGO))
    assert look(box) == (["mailbox"], [("tmp/old", "is a temporary file, 37 hours old", "be removed")])


def test_one_name_twice(box):
    put(box / "new" / f"{FOREIGN},S=5", b"same\n")
    put(box / "cur" / f"{FOREIGN},S=5:2,S", b"same\n")
    wrong = f"has the unique name of cur/{FOREIGN},S=5:2,S"
    assert look(box) == (
        ["mailbox", "message", "message"],
        [(f"new/{FOREIGN},S=5", f"{wrong}, and the same content", "be removed")],
    )
    put(box / "new" / f"{FOREIGN},S=5", b"Same\n")
    findings = look(box)[1]
    assert findings == [(f"new/{FOREIGN},S=5", f"{wrong}, and other content", "get a new unique name")]


def test_one_name_twice_in_cur(box):
    for name in (f"{FOREIGN}:2,", f"{FOREIGN},S=0:2,S"):
        put(box / "cur" / name)
    [(_, wrong, _)] = look(box)[1]
    assert wrong.startswith("has the unique name of ")


def test_a_file_that_is_moved_meanwhile_is_well(box):
    """Seen in new/, and in cur/ again when that is read."""
    put(box / "new" / "1.2.host")
    steps = verify(box.parents[1])
    assert [next(steps), next(steps)] == ["mailbox", "message"]
    (box / "new" / "1.2.host").rename(box / "cur" / "1.2.host:2,S")
    assert list(steps) == ["message"]


def test_a_dot_in_front(box):
    put(box / "new" / ".hidden")
    kinds, [(place, wrong, _)] = look(box)
    assert (kinds, place) == (["mailbox"], "new/.hidden")
    assert wrong == "begins with a dot, so it is not served"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_what_belongs_to_somebody_else(box):
    for folder in (box, box / "cur"):
        os.chown(folder, 12345, -1)
    wrong = "belongs to user 12345, not to the server's 0"
    assert look(box)[1] == [(place, wrong, "be given to the server's user") for place in (".", "cur")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
@pytest.mark.parametrize("place", ["..", "cur", "new/1.2.host"])
def test_what_cannot_be_read(box, place):
    put(box / "new" / "1.2.host")
    path = (box / place).resolve()
    path.chmod(0)
    findings = [found for found in verify(box.parents[1]) if isinstance(found, Finding)]
    path.chmod(0o700)
    assert "cannot be read: Permission denied" in [found.wrong for found in findings]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("o'brien", "o%27brien"),
        ("Alice", "alice"),
        ("joe=x", "joe%3dx"),
        (".hidden", "%2ehidden"),
        ("O%27Brien", "o%27brien"),
        ("joe%3Dx", "joe%3dx"),
        ("b%6fb", "bob"),
        ("100%", "100%25"),
        ("é", "%c3%a9"),
        ("two words", "two%20words"),
        ("'" * 90, "another name"),
    ],
)
def test_a_folder_that_is_not_named_as_a_mailbox(box, name, right):
    box.rename(box.with_name(name))
    found = [one for one in verify(box.parents[1]) if isinstance(one, Finding)]
    repair = right if right == "another name" else f"example.org/{right}"
    told = "is not the name of a mailbox, so its mail is not served"
    assert found == [Finding(box.with_name(name), told, f"be moved to {repair}")]
    assert [one for one in module.verify_folders(box.parents[1]) if isinstance(one, Finding)] == found


@pytest.mark.parametrize(
    "name", ["o%27brien", "alice", "joe%3dx", "%2ehidden", "a.b+c_d-e", "%c3%a9", "100%25"]
)
def test_a_folder_that_is_named_as_a_mailbox(box, name):
    box.rename(box.with_name(name))
    assert list(verify(box.parents[1])) == ["mailbox"]
    assert list(module.verify_folders(box.parents[1])) == ["mailbox"]


@pytest.mark.parametrize(
    ("name", "right"), [("Example.ORG", "example.org"), ("münchen.example", "xn--mnchen-3ya.example")]
)
def test_a_domain_that_is_not_named_as_one(box, name, right):
    box.parent.rename(box.parents[1] / name)
    (found,) = [one for one in verify(box.parents[1]) if isinstance(one, Finding)]
    assert found.repair == f"be moved to {right}/alice"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["..", ".", "../..", "new", "cur", "tmp"])
def test_a_folder_of_another_user(box, place):
    os.chown(box / place, 65534, -1)
    found = [one for one in verify(box.parents[1]) if isinstance(one, Finding)]
    assert [one.wrong for one in found] == ["belongs to user 65534, not to the server's 0"]
    assert [one for one in module.verify_folders(box.parents[1]) if isinstance(one, Finding)] == found


def test_a_start_does_not_mind_modes(box):
    (box / "cur").chmod(0o755)
    box.chmod(0o750)
    assert list(module.verify_folders(box.parents[1])) == ["mailbox"]
