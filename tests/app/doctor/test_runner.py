"""What the doctor says of a server, of a broken configuration, and of its own mistakes; how it prints."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.app.doctor import runner
from mailserver.app.doctor.findings import DoctorFinding, DoctorNote, Examination, NotChecked
from mailserver.app.doctor.kinds import KINDS
from mailserver.app.doctor.runner import Doctor, configuration_problems, running_server
from mailserver.config.loader import load
from mailserver.control.channel import SOCKET
from tests.support.doctor.site import DoctorSite, outline
from tests.support.fakes import stand_in

STATUS = {"version": "9", "pid": 1, "loaded": 2.0, "descriptors": 3, "listeners": [], "more": 4}


def answering(folder: Path, reply: dict[str, object] | None) -> Iterator[None]:
    """A control socket that gives this reply, or none."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / SOCKET))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                if reply is None:
                    connection.recv(1000)  # until the end of the connection
                else:
                    connection.sendall(json.dumps(reply).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        ({"error": "unknown command; known: reload"}, "server-version", "a version without this command"),
        ({"error": "internal error"}, "server-silent", "internal error"),
        ({"error": "/x: Permission denied"}, "server-silent", "Permission denied"),
        (None, "server-silent", "does not answer within 0.05 seconds"),
    ],
)
def test_a_server_with_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: dict[str, object] | None, kind: str, text: str
) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 0.05 if reply is None else 60.0)
    for _ in answering(tmp_path, reply):
        server, trouble = running_server(tmp_path)
        assert server is None and trouble is not None
        assert trouble.kind == kind and text in trouble.text


def test_a_server_that_answers(tmp_path: Path) -> None:
    assert running_server(tmp_path) == (None, None)
    for _ in answering(tmp_path, {"lines": [json.dumps(STATUS)], "status": 0}):
        server, trouble = running_server(tmp_path)
        assert server is not None and trouble is None
        assert (server.version, server.descriptors, server.listeners) == ("9", 3, [])


def test_the_trouble_of_a_server_takes_the_place_of_its_absence(site: DoctorSite) -> None:
    site.server = None
    site.server_trouble = DoctorFinding("server-silent", "server", "x", "y")
    assert outline(site.run("server")) == [("error", "server-silent", "server")]
    assert site.run("listeners") == [NotChecked("listeners", "the server does not say where it listens")]


def test_a_broken_configuration(site: DoctorSite) -> None:
    site.path.write_text('hostname = "mail.example.org"\nlimit = 1\n[smtp]\nverify = "maybe"\n')
    examination = Doctor(site.path, offline=False).run()
    assert sorted(outline(examination.findings)) == [
        ("error", "configuration-invalid", "limit"),
        ("error", "configuration-invalid", "smtp.verify"),
    ]
    assert [one.subject for one in examination.not_checked] == ["everything else"]
    assert not examination.is_sound


def test_a_configuration_that_prevents_a_start(site: DoctorSite) -> None:
    site.configure(
        '[[listen]]\nprotocol = "smtp"\nendpoint = "systemd:domain=INET:index=0"\n'
        '[[listen]]\nprotocol = "pop3"\nendpoint = "tcp:110:colour=red"'
    )
    problems = configuration_problems(site.path, load(site.path), stand_in(site.reactor))
    assert outline(problems) == [("error", "configuration-invalid", "listen[2].endpoint")]
    assert "unknown option colour" in problems[0].text


def test_a_check_that_fails_hides_no_other(site: DoctorSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: Exception) -> object:
        raise error

    monkeypatch.setattr(runner, "NEARBY", {})
    monkeypatch.setattr(
        runner,
        "BLOCKING",
        {
            "a": lambda it: fails(TypeError("oops")),
            "b": lambda it: fails(PermissionError(13, "Permission denied", "/x")),
            "c": lambda it: [DoctorFinding("no-trace", "s", "t", "m")],
        },
    )
    site.offline = True
    examination = site.examine()
    assert [(one.kind, one.subject) for one in examination.findings] == [
        ("check-failed", "a"),
        ("no-trace", "s"),
    ]
    assert "TypeError('oops')" in examination.findings[0].text
    assert NotChecked("b", "Permission denied: /x") in examination.not_checked
    assert NotChecked("DNS", "--offline") in examination.not_checked
    assert not site.zone.asked


def test_the_output() -> None:
    examination = Examination(
        [
            DoctorFinding("no-trace", "log.trace_days", "nothing is kept", "set it"),
            NotChecked("DNS", "--offline"),
            DoctorNote("by the rules"),
            DoctorFinding("disk-full", "/data", "no room\x1b", "make room"),
            DoctorFinding("disk-full", "/data", "no room\x1b", "make room"),
        ]
    )
    assert list(examination.lines) == [
        "error: /data: no room\\x1b [disk-full]",
        "    make room",
        "notice: log.trace_days: nothing is kept [no-trace]",
        "    set it",
        "not checked: DNS: --offline",
        "note: by the rules",
        "1 error, 0 warnings, 1 notice",
    ]
    found = examination.object
    assert (found["errors"], found["warnings"], found["notices"]) == (1, 0, 1)
    assert found["findings"][1]["kind"] == "no-trace" and found["findings"][1]["mend"] == "set it"
    assert found["not_checked"] == [{"subject": "DNS", "reason": "--offline"}]
    assert found["notes"] == ["by the rules"]


@pytest.mark.parametrize("kinds", [["no-trace"], []])
def test_notices_do_not_count(kinds: list[str]) -> None:
    assert Examination([DoctorFinding(kind, "", "", "") for kind in kinds]).is_sound


def test_each_kind_of_trouble_is_planted_by_a_test() -> None:
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [kind for kind in KINDS if f'"{kind}"' not in texts] == []
