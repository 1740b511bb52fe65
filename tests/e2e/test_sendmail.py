"""``mailserver sendmail`` as cron, git, mutt and PHP call it; with a running server and without one."""

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.e2e.commands import environment, in_process
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import missing, need, run
from tests.support.e2e.server import ROOT, Makes, Server, configuration
from tests.support.runs import rest_slow

TABLES = """
[[alias]]
address = "root"
to = ["alice"]
[relay]
networks = []
"""


@pytest.fixture
def site(make_server: Makes) -> Server:
    """A running server with an alias for root."""
    return make_server(configuration(tables=TABLES)).start()


@pytest.fixture
def program(tmp_path: Path) -> Callable[[Server], Path]:
    """Makes a program ``sendmail`` for a server, as its owner would install it."""

    def make(server: Server) -> Path:
        inner = server.directory / "lib" / "sendmail"
        inner.parent.mkdir(exist_ok=True)
        inner.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            "from mailserver.cli.main import main\nmain()\n"
        )
        inner.chmod(0o755)
        path = server.directory / "sendmail"
        path.write_text(f'#!/bin/sh\nexec {inner} --config {server.config} "$@"\n')
        path.chmod(0o755)
        return path

    return make


def send(command: Path, *words: str, message: bytes) -> tuple[int, str, str]:
    done = subprocess.run(
        [command, *words], input=message, env=environment(), capture_output=True, timeout=60
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def split(message: bytes) -> tuple[list[str], bytes]:
    header, _, text = message.partition(b"\r\n\r\n")
    return re.sub(r"\r\n[ \t]+", " ", header.decode()).split("\r\n"), text


def test_the_options_of_the_real_program(site: Server, program: Callable[[Server], Path]) -> None:
    sendmail = program(site)
    message = (
        b"To: Bob <bob@example.org>\nCc: root, =?utf-8?q?x?= <carol@example.org>\nBcc: bob\n"
        b"Subject: Gr\xc3\xbc\xc3\x9fe\n\nhello\n.\nmore\n"
    )
    status, out, err = send(
        sendmail, "-oi", "-oem", "-O", "Timeout=1", "-t", "-v", "-bm", "-G", "-N", "never", "-R", "hdrs",
        "-V", "id=1", "-F", "Ann Smith", "-f", "ann@example.org", message=message,
    )  # fmt: skip
    assert (status, err) == (0, "") and re.fullmatch(r"queued as [0-9a-z]{16}\n", out)
    for name in ("alice", "bob", "carol"):
        (stored,) = Mailbox(site, name).messages()
        header, text = split(stored)
        assert text == b"hello\r\n.\r\nmore\r\n"
        assert header[0] == "Return-Path: <ann@example.org>"
        fields = [line.split(":")[0] for line in header if not line.startswith("Delivered-To")]
        assert fields == ["Return-Path", "Received", "To", "Cc", "Subject", "From", "Date", "Message-ID"]
        assert "From: Ann Smith <ann@example.org>" in header and "Subject: Grüße" in header
    assert f"{out.split()[-1]}: accepted: <ann@example.org> to" in site.log
    # the null sender, a dot that ends, and words after --
    assert send(sendmail, "-f", "<>", "--", "bob", message=b"Subject: x\r\n\r\na\r\n.\r\nrest\r\n")[0] == 0
    header, text = split(Mailbox(site, "bob").messages()[1])
    assert (header[0], text) == ("Return-Path: <>", b"a\r\n")


@pytest.mark.parametrize(
    ("words", "message", "status", "said"),
    rest_slow(
        [
            ([], b"", 64, "no recipients"),
            (["bob <"], b"", 65, "no closing angle bracket"),
            (["bob", "nobody@example.org"], b"", 67, "<nobody@example.org>: no such user here"),
            (["--config", "/nowhere", "bob"], b"", 78, "/nowhere: cannot read the file"),
            (["-t"], b"Subject: x\n\n", 64, "no recipients in the header"),
            (["-J", "bob"], b"", 64, "option -J not recognized"),
            (["-bs"], b"", 64, "use a listener of the protocol submission"),
            (["-q"], b"", 64, "mailserver"),
            (["-N", "often", "bob"], b"", 64, "allowed: never, or a list of failure, delay and success"),
            (["-R", "all", "bob"], b"", 64, "allowed: hdrs, full"),
            (["-t"], b"To: a b c\n\n", 65, "To: 'a b c' is not an address"),
            (["bob@exa mple"], b"", 65, "is not an address"),
        ],
        first=6,
    ),
)
def test_failures(
    site: Server, program: Callable[[Server], Path], words: list[str], message: bytes, status: int, said: str
) -> None:
    ended, out, err = send(program(site), *words, message=message)
    assert (ended, out, err.count("\n")) == (status, "", 1), err
    assert err.startswith("sendmail: ") and said in err
    assert Mailbox(site, "bob").messages() == []


def test_without_a_server(site: Server, program: Callable[[Server], Path]) -> None:
    sendmail = program(site)
    site.stop()
    large = b"Subject: large\n\n" + b"0123456789abcde\n" * 700_000
    status, out, err = send(sendmail, "-v", "-F", "", "bob", message=large)
    assert (status, err) == (0, "") and out.startswith("queued as ")
    assert send(sendmail, "nobody", message=b"x\n")[0] == 67
    site.start()
    assert "damaged and set aside: 0" in site.log
    header, text = split(Mailbox(site, "bob").messages()[0])
    assert len(text) == 700_000 * 17
    assert re.match(
        r"Received: by mail.example.org \(from userid \d+\) id \w+ for <bob@example.org>;", header[2]
    )


def test_who_may_not(site: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    status, out, [line] = in_process("sendmail", "--config", str(site.config), "bob", given=b"x")
    assert (status, out) == (77, [])
    assert line.endswith("only root and the server's user may submit here; others use a submission listener")


# ------------------------------------------------------------ real programs


def test_mutt(site: Server, program: Callable[[Server], Path], tmp_path: Path) -> None:
    (tmp_path / "muttrc").write_text(
        f'set sendmail="{program(site)} -oem -oi" copy=no realname="Somebody" from="carol@example.org"\n'
        "set use_envelope_from=yes send_charset=utf-8\n"
    )
    command = [need("mutt"), "-n", "-F", str(tmp_path / "muttrc"), "-s", "by mutt", "-b", "alice@example.org"]
    run(tmp_path, *command, "--", "bob@example.org", input="Grüße\n.\n".encode())
    header, text = split(Mailbox(site, "bob").messages()[0])
    assert header[0] == "Return-Path: <carol@example.org>" and "Subject: by mutt" in header
    assert text == "Grüße\r\n.\r\n".encode()
    assert not any(line.startswith("Bcc") for line in header)
    assert len(Mailbox(site, "alice").messages()) == 1


def test_git_send_email(site: Server, program: Callable[[Server], Path], tmp_path: Path) -> None:
    git = need("git")
    if not Path(subprocess.check_output([git, "--exec-path"], text=True).strip(), "git-send-email").exists():
        missing("git send-email is not installed (Debian package git-email)")
    for words in (
        ["init", "-q"],
        ["config", "user.name", "Ann"],
        ["config", "user.email", "carol@example.org"],
        ["commit", "-q", "--allow-empty", "-m", "nothing"],
    ):
        run(tmp_path, git, *words)
    (tmp_path / "file").write_text("x\n.\ny\n")
    run(tmp_path, git, "add", "file")
    run(tmp_path, git, "commit", "-q", "-m", "a change")
    run(
        tmp_path, git, "send-email", f"--smtp-server={program(site)}", "--to=bob@example.org",
        "--confirm=never", "--envelope-sender=auto", "--quiet", "-1",
    )  # fmt: skip
    header, text = split(Mailbox(site, "bob").messages()[0])
    assert "Subject: [PATCH] a change" in header and b"\r\n+.\r\n" in text
    assert header[0] == "Return-Path: <carol@example.org>"


@pytest.mark.parametrize(
    ("line", "returns"),
    [
        # cron of Debian, and mail() of PHP
        ("sendmail -FCronDaemon -i -B8BITMIME -oem root", "<{user}@example.org>"),
        ("sendmail -t -i -fwww@example.org", "<www@example.org>"),
    ],
)
def test_cron_and_php(site: Server, program: Callable[[Server], Path], line: str, returns: str) -> None:
    program(site)
    message = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> true\n\nout\n.\n"
    command = f"printf %s '{message}' | ./{line}"
    done = subprocess.run(["sh", "-c", command], cwd=site.directory, env=environment(), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    header, text = split(Mailbox(site, "alice").messages()[0])
    assert header[0] == f"Return-Path: {returns.format(user=pwd.getpwuid(os.getuid()).pw_name)}"
    assert "From: root (Cron Daemon)" in header and text == b"out\r\n.\r\n"
