"""``mailserver init`` in this process: what it makes, what it refuses, and what a failure leaves."""

import errno
import os
import pwd
import socket
import stat
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from mailserver.app import new_server
from mailserver.app.zone import ZoneCheck
from mailserver.cli import init as init_command
from mailserver.config.loader import load
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.policy.dkim.keys import make_key
from tests.support.e2e.commands import Ended, in_process
from tests.support.faulty_calls import FaultyCalls
from tests.support.tls_material import make_ca

ANY_PORTS = "0,0,0,0,0"


KEYS = cache(make_key)


@pytest.fixture(autouse=True)
def _without_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reactor runs once in a process; the tests with processes look up the host."""
    monkeypatch.setattr(ZoneCheck, "check_host", ZoneCheck.zone)
    monkeypatch.setattr(new_server, "make_key", KEYS)


def init(folder: Path, *words: str, given: str = "", yes: bool = True) -> Ended:
    options = ["--yes"] if yes else []
    if "--ports" not in words:
        options += ["--ports", ANY_PORTS]
    if "--domain" not in words:
        options += ["--domain", "example.org"]
    return in_process("init", *options, "--dir", str(folder), *words, given=given.encode())


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_a_new_server(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "mail"
    status, out, err = init(folder, "--account", "Alice")
    assert (status, err) == (0, [])
    assert out[:3] == [
        f"Configuration: {folder}/mailserver.toml",
        f"Data: {folder}/data",
        "Account: Alice@example.org",
    ]
    assert out[3].startswith("Password: ") and len(out[3]) > 30
    assert "example.org. IN MX 10 mail.example.org." in out
    assert sum("._domainkey.example.org. IN TXT" in line for line in out) == 2
    assert out[-1].endswith(f"twistd -n --pidfile= mailserver --config {folder}/mailserver.toml")
    config = load(folder / "mailserver.toml")
    assert (config.hostname, config.domains, config.data) == (
        "mail.example.org",
        ("example.org",),
        folder / "data",
    )
    assert [(one.protocol, one.endpoint, one.tls) for one in config.listen] == [
        (protocol, "tcp:0:interface=127.0.0.1", tls)
        for protocol, tls in (
            ("smtp", "starttls"),
            ("submission", "implicit"),
            ("submission", "starttls"),
            ("pop3", "implicit"),
            ("pop3", "starttls"),
        )
    ]
    assert (str(config.postmaster), config.allow_root) == ("Alice@example.org", os.geteuid() == 0)
    assert config.tls is not None and config.tls.generate
    [abuse] = config.aliases
    assert [str(abuse.address), *map(str, abuse.to)] == ["abuse@example.org", "Alice@example.org"]
    listed = in_process("account", "list", "--config", str(folder / "mailserver.toml"))
    assert listed == (0, ["Alice@example.org: argon2"], [])
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_password_is_the_first_line_without_a_terminal(tmp_path: Path) -> None:
    assert init(tmp_path, yes=False) == (1, [], ["mailserver: the password is empty"])
    status, out, _ = init(tmp_path, given="correct horse\nsecond line\n", yes=False)
    assert status == 0 and not any(line.startswith("Password") for line in out)
    config = load(tmp_path / "mailserver.toml")
    assert config.postmaster is None  # the account is postmaster's own


def test_an_account_for_complaints(tmp_path: Path) -> None:
    assert init(tmp_path, "--account", "ABUSE")[0] == 0
    assert load(tmp_path / "mailserver.toml").aliases == ()


WRONG = [
    (("--domain", "localhost"), '"localhost" has no dot'),
    (("--domain", "a..b"), 'invalid domain "a..b"'),
    (("--hostname", "mail"), '"mail" has no dot'),
    (("--account", "bob@example.net"), '"bob@example.net" is not in a domain of this server'),
    (("--account", "a@b@c"), 'invalid address "a@b@c"'),
    (("--private-key", "k.pem"), "--private-key has no use without --certificate"),
    (("--host", "localhost"), "localhost"),
    (("--ports", "25"), '"25" is no ports'),
    (("--ports", "a,b,c,d,e"), '"a,b,c,d,e" is no ports'),
    (("--ports", "0,0,0,0,65536"), "has an invalid port"),
    (("--ports", "0,0,0,0,-1"), "has an invalid port"),
    (("--ports", "0,2600,0,2600,0"), "or one twice"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_wrong_usage(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    status, out, [line] = init(tmp_path, *words)
    assert (status, out) == (2, [])
    assert said in line
    assert not tree(tmp_path)


def test_a_domain_is_needed(tmp_path: Path) -> None:
    said = "mailserver init: --domain is missing. See: mailserver init --help"
    assert in_process("init", "--yes", "--dir", str(tmp_path)) == (2, [], [said])


@pytest.mark.parametrize(
    "there",
    [
        "mailserver.toml",
        "data/mail/x",
        "data",
        "dkim/example.org-202611-rsa.pem",
        "dkim/example.org-202611-ed25519.pem",
    ],
)
def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    monkeypatch.setattr(new_server.time, "strftime", lambda form: "202611")  # type: ignore[attr-defined]
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    before = tree(tmp_path)
    status, out, [line] = init(tmp_path)
    assert (status, out) == (1, [])
    assert line == f"mailserver: {tmp_path / there.removesuffix('/mail/x')} exists; nothing is changed"
    assert tree(tmp_path) == before


def test_a_link_that_leads_nowhere_is_there(tmp_path: Path) -> None:
    (tmp_path / "mailserver.toml").symlink_to("missing")
    assert init(tmp_path)[0] == 1
    assert not (tmp_path / "missing").exists()


def test_empty_folders_are_used(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "dkim").mkdir()
    assert init(tmp_path)[0] == 0


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = FaultyCalls()
    monkeypatch.setattr(init_command, "Disk", lambda: Disk(calls))
    monkeypatch.setattr(new_server, "make_key", lambda kind: None)
    monkeypatch.setattr(new_server, "write_pem", lambda key: b"pem")
    (tmp_path / "data").mkdir()
    before = tree(tmp_path)
    for number in count(1):
        calls.fail_at(number, errno.ENOSPC)
        monkeypatch.setattr(new_server, "PREPARE", {"account add": _fails})
        status, out, [line] = init(tmp_path)
        assert (status, out) == (1, [])
        assert tree(tmp_path) == before
        if "account" in line:
            break
        assert line.startswith("mailserver: No space left on device"), line
    assert number > 15


def _fails(data: Path, request: object) -> Callable[[], None]:
    def add() -> None:
        (data / "accounts.db").write_text("half")
        raise StorageError("the account cannot be added")

    return add


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(kind: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(new_server, "make_key", interrupted)
    assert init(tmp_path / "new") == (1, [], ["", "mailserver: aborted"])
    assert not tree(tmp_path)


# ------------------------------------------------------------ checks of the answers


def test_a_port_that_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, [line] = init(tmp_path, "--ports", f"0,0,{port},0,0")
    assert status == 1 and line.startswith(
        f"mailserver: cannot listen on port {port} of 127.0.0.1: Address already in use; choose other --ports"
    )
    assert not tree(tmp_path)


def test_default_ports_that_are_in_use_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = {2587, 2995}
    monkeypatch.setattr(new_server, "port_problem", lambda host, port: "used" if port in used else None)
    monkeypatch.setattr(new_server, "free_port", lambda host: 40000 + len(used) - (used.pop() > 0))
    words = ("--yes", "--domain", "example.org", "--dir", str(tmp_path))
    assert in_process("init", *words)[0] == 0
    ports = [one.endpoint.split(":")[1] for one in load(tmp_path / "mailserver.toml").listen]
    assert ports == ["2525", "2465", "40001", "40000", "2110"]


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("192.0.2.1", "tcp:0:interface=192.0.2.1"),
        ("0.0.0.0", "tcp:0"),
        ("::", "tcp6:0"),
        ("2001:DB8::1", "tcp6:0:interface=2001\\:db8\\:\\:1"),
    ],
)
def test_the_address_to_listen_on(tmp_path: Path, host: str, endpoint: str) -> None:
    assert init(tmp_path, "--host", host)[0] == 0
    assert {one.endpoint for one in load(tmp_path / "mailserver.toml").listen} == {endpoint}


def test_certificates(tmp_path: Path) -> None:
    authority = make_ca(tmp_path)
    issued, other = authority.issue("mail.example.org"), authority.issue("mail.example.org")
    chain, key = issued.certificate, issued.private_key
    folder = tmp_path / "mail"
    for words, said in (
        ((str(tmp_path / "x.pem"),), f'cannot read "{tmp_path}/x.pem": No such file or directory'),
        ((str(key),), f'"{key}" has no certificates in the PEM format'),
        ((str(chain),), f'cannot read "{tmp_path}/privkey.pem": No such file or directory'),
        ((str(chain), "--private-key", str(other.private_key)), "does not belong to the first certificate"),
    ):
        status, _, [line] = init(folder, "--certificate", *words)
        assert status == 1 and said in line
        assert not folder.exists()
    (tmp_path / "privkey.pem").symlink_to(key)
    assert init(folder, "--certificate", str(chain))[0] == 0
    tls = load(folder / "mailserver.toml").tls
    assert tls is not None and (tls.certificate, tls.private_key) == (chain, tmp_path / "privkey.pem")


# ------------------------------------------------------------ the server's user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@as_root
def test_files_of_another_user(nobodys_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    issued = make_ca(nobodys_folder).issue("mail.example.org")
    nobodys_folder.chmod(0o755)
    folder = nobodys_folder / "mail"
    words = ("--certificate", str(issued.certificate), "--private-key", str(issued.private_key))
    status, out, _ = init(folder, "--user", "nobody", *words)
    assert status == 0
    assert f"WARNING: the user nobody cannot read {issued.private_key}: renewals would fail." in out
    assert not any(str(issued.certificate) in line for line in out)
    assert "--uid nobody --gid nogroup mailserver --config" in out[-1]
    assert not load(folder / "mailserver.toml").allow_root
    own = {folder / "mailserver.toml": (0, 0o640), folder: (0, 0o750)}
    for path in (folder, *folder.rglob("*")):
        status_of = path.stat()
        expected = own.get(path, (nobody.pw_uid, 0o700 if path.is_dir() else 0o600))
        assert (status_of.st_uid, stat.S_IMODE(status_of.st_mode)) == expected, path
    assert (folder / "mailserver.toml").stat().st_gid == nobody.pw_gid


@as_root
def test_the_layout_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --dir: the configuration, the data and the ports are where an administrator expects them."""
    monkeypatch.setattr(init_command, "DEFAULT_CONFIG", str(tmp_path / "etc" / "mailserver.toml"))
    monkeypatch.setattr(init_command, "DATA", tmp_path / "data")
    monkeypatch.setattr(init_command, "USER", "nobody")
    monkeypatch.setattr(init_command, "UNIT_FOLDERS", (tmp_path,))
    monkeypatch.setattr(new_server, "port_problem", lambda host, port: None)
    (tmp_path / "mailserver.service").touch()
    status, out, _ = in_process("init", "--yes", "--domain", "example.org")
    assert (status, out[-1]) == (0, "  systemctl enable --now mailserver")
    config = load(tmp_path / "etc" / "mailserver.toml")
    assert (config.data, config.allow_root) == (tmp_path / "data", False)
    assert config.data.owner() == "nobody"
    ports = [one.endpoint.removeprefix("tcp6:").removeprefix("tcp:") for one in config.listen]
    assert ports == ["25", "465", "587", "995", "110"]


@as_root
def test_an_unknown_user(tmp_path: Path) -> None:
    status, _, [line] = init(tmp_path, "--user", "nobody-here")
    assert status == 1 and "the user nobody-here does not exist; create it: useradd --system" in line


def test_only_root_sets_up_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = "mailserver: only root can do this; use --dir, without --user"
    assert in_process("init", "--yes", "--domain", "example.org") == (1, [], [said])
    assert init(tmp_path, "--user", "nobody") == (1, [], [said])
