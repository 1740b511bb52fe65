"""The sending session and smtp-sink of Postfix, over a socket."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.e2e.programs import need
from tests.support.sender import CONTENT, SenderCaller, SenderDialogue, outgoing

LARGE = b"Subject: x\r\n\r\n" + b".a line that begins with a dot\r\n" * 20_000


@contextmanager
def connected(path: Path, options: list[str]) -> Iterator[socket.socket]:
    user = ["-u", "root"] if os.geteuid() == 0 else []
    process = subprocess.Popen([need("smtp-sink"), *user, *options, f"unix:{path}", "10"], cwd=path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            for _ in range(200):
                if connection.connect_ex(str(path)) == 0:
                    break
                time.sleep(0.05)
            yield connection
    finally:
        process.terminate()
        process.wait()


def talk(caller: SenderCaller, connection: socket.socket) -> None:
    while not caller.session.closed:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:  # it has closed before it has read everything
            data = b""
        if not data:
            caller.lose()
        elif said := caller.feed(data):
            connection.sendall(said)


@pytest.mark.parametrize(
    ("options", "fate", "end"),
    [
        ([], "ACCEPTED 0.0 reports", "QUIT"),
        (["-p"], "ACCEPTED 0.0 reports", "QUIT"),  # without PIPELINING
        (["-e"], "ACCEPTED 0.0", "QUIT"),  # without EHLO
        (["-L"], "ACCEPTED 2.0 reports", "QUIT"),  # LMTP
        (["-r", "rcpt"], "DEFERRED 3.0", "QUIT"),
        (["-f", "data"], "REJECTED 3.0", "QUIT"),
        (["-f", "."], "REJECTED 3.0", "QUIT"),
        (["-q", "rcpt"], "UNTRIED 4.2", "LOST"),
        (["-q", "."], "UNCERTAIN 4.2", "LOST"),
        (["-Q", "data"], "UNTRIED 4.2", "REFUSED"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_smtp_sink(tmp_path: Path, options: list[str], fate: str, end: str) -> None:
    dialogue = SenderDialogue(
        "", mails=[(outgoing("to=c@d.example,e@d.example", text), text) for text in (LARGE, CONTENT)]
    )
    if "-L" in options:
        dialogue.settings = {"protocol": "lmtp"}
    caller = SenderCaller(dialogue)
    with connected(tmp_path / "s", options) as connection:
        talk(caller, connection)
    assert caller.end == end
    assert caller.results == [f"{fate}, {fate}"] * (2 if end == "QUIT" else 1)
