"""Whose a path is, and the commands that the user is given."""

import grp
import os
import pwd
from pathlib import Path

import pytest

from mailserver.durable.owned import foreign, group, to_hide, user

MY_NAME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = grp.getgrgid(os.getegid()).gr_name
ELSE = 54321  # a user, and a group, without a name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "it's"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o400, 0o755])
def test_what_is_ours(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert foreign(path) is None
    assert foreign(path.with_name("missing")) is None


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602, 0o777, 0o1777])
def test_what_others_can_change(path: Path, mode: int) -> None:
    path.chmod(mode)
    wrong = f"can be changed by other users, its mode is {mode:04o}"
    assert foreign(path) == (wrong, f"chmod go-w '{path.parent}/it'\"'\"'s'")


@pytest.mark.parametrize(("uid", "name"), [(ELSE, str(ELSE)), (0, "root")])
def test_what_belongs_to_another(path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, name: str) -> None:
    path = path.rename(path.with_name("file"))
    if uid == os.geteuid():
        uid, name = ELSE, str(ELSE)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    wrong = f"belongs to {MY_NAME}, not to the server's user {name}"
    assert foreign(path) == (wrong, f"chown -R {name} {path}")


@pytest.mark.parametrize(
    ("uid", "gid", "command"),
    [
        (os.geteuid(), os.getegid(), "chmod o-rwx {}"),
        (0, os.getegid(), "chmod o-rwx {}"),
        (ELSE, os.getegid(), f"chgrp {MY_GROUP} {{}}; chmod 640 {{}}"),
        (ELSE, ELSE, f"chgrp {ELSE} {{}}; chmod 640 {{}}"),
    ],
)
def test_to_hide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, gid: int, command: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "getegid", lambda: gid)
    assert to_hide(tmp_path) == command.format(tmp_path, tmp_path)


def test_names() -> None:
    assert (user(0), group(0), user(ELSE), group(ELSE)) == ("root", "root", str(ELSE), str(ELSE))
