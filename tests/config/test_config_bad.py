"""Each ``bad_configs/NAME.toml`` gives exactly the lines of ``NAME.expected``, FILE being its path.

FOLDER is its folder. The files go through everything that judges a configuration before the start.
"""

import os
import sys
from pathlib import Path

import pytest

from mailserver.accounts.entries import StoredNames
from mailserver.app.check import check
from mailserver.config.loader import load
from mailserver.errors import ConfigurationError
from tests.support.reactor import FakeReactor
from tests.support.runs import rest_slow

FOLDER = Path(__file__).parent.parent / "bad_configs"
CASES = sorted(FOLDER.glob("*.toml"))


def test_the_cases_are_there() -> None:
    assert len(CASES) >= 40
    assert {path.stem for path in CASES} == {path.stem for path in FOLDER.glob("*.expected")}


def judge(path: Path) -> None:
    check(path, load(path), StoredNames(), FakeReactor())  # type: ignore[arg-type]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_bad_config(path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        judge(path)
    lines = [line.replace(str(path), "FILE") for line in caught.value.lines]
    lines = [line.replace(str(FOLDER), "FOLDER") for line in lines]
    assert lines == path.with_suffix(".expected").read_text(encoding="utf-8").splitlines()
    # the password in all of these files
    assert "hunter2" not in str(caught.value).lower()


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mailserver.app.database", None)  # as if psycopg were missing
    path = tmp_path / "mailserver.toml"
    path.write_text('[storage]\nengine = "postgresql"\nurl = "postgresql://mail:hunter2@db/mail"\n')
    with pytest.raises(ConfigurationError) as caught:
        judge(path)
    assert caught.value.lines == [
        f'{path}: storage.engine: "postgresql" requires the package psycopg; allowed: after '
        'pip install "mailserver[postgresql]"'
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot read the file: No such file or directory"),
        (b'hostname = "\xff"\n', "the file is not UTF-8: octet 13"),
        ("hostname = 'x'".encode("utf-16"), "the file is UTF-16; allowed: UTF-8"),
        ("hostname = 'x'".encode("utf-16-be"), "invalid TOML"),
        (b"\xef\xbb\xbfa", "invalid TOML: "),
        (b"a = " + b"[" * 100_000, "the file is nested too deeply"),
        (b"a = " + b"1" * 5_000, "invalid TOML: Exceeds the limit"),
        (b"a", "invalid TOML: "),
    ],
)
def test_unreadable(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "mailserver.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    [line] = caught.value.lines
    assert line.startswith(f"{path}: {what}")


@pytest.mark.parametrize("place", ["fifo", "link", "/dev/fd/{}", "/proc/self/fd/{}"])
def test_a_pipe_is_refused_as_it_could_be_read_only_once(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    reader, writer = os.pipe()
    try:
        path = tmp_path / place.format(reader)
        with pytest.raises(ConfigurationError) as caught:
            load(path)
        assert caught.value.lines == [f"{path}: is a pipe; allowed: a file, which a reload can read again"]
    finally:
        os.close(reader)
        os.close(writer)


def test_unreadable_in_other_ways(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert caught.value.lines == [f"{tmp_path}: cannot read the file: Is a directory"]
    with pytest.raises(ConfigurationError) as caught:
        load(Path("a\0b\nc"))
    [line] = caught.value.lines
    assert line.startswith("a\\x00b\\nc: ")


@pytest.mark.parametrize("length", rest_slow([1500, 5000]))
@pytest.mark.parametrize("forward", [True, False])
def test_a_long_chain_of_aliases(tmp_path: Path, length: int, forward: bool) -> None:
    path = tmp_path / "mailserver.toml"
    aliases = [f'{{ address = "a{n}", to = ["a{n + 1}"] }}' for n in range(length)]
    path.write_text(f"""alias = [{", ".join(aliases if forward else reversed(aliases))}]
        account = [{{ address = "a{length}", password = "x" }}]""")
    with pytest.raises(ConfigurationError) as caught:
        judge(path)
    [line] = caught.value.lines
    number = length - 50 if forward else 51
    assert line.startswith(
        f"{path}: alias[{number}].to: a{length - 51}@localhost leads through more than 50 "
    )


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    for text in ('hostname = "mail.example.org"\n', '# a comment\r\nhostname = "mail.example.org"\r\n'):
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert load(path).hostname == "mail.example.org"
