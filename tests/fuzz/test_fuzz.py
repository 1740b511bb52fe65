"""The short form of the fuzzer, and that it finds what it is for."""

import hmac
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from mailserver.pop3.login import POP3Login
from mailserver.sasl import scram
from mailserver.sasl.exchange import Exchange
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import LoginFailed, Reason
from mailserver.smtp.login import SMTPLogin
from mailserver.smtp.session import SMTPSession as SMTPSession
from mailserver.smtp.tables import table
from mailserver.wire.dots import DotDecoder
from mailserver.wire.lines import LineBuffer
from tests.fuzz.__main__ import main
from tests.fuzz.campaign import Failure, Report, Task, minimised, run, session
from tests.fuzz.targets import TARGETS

SESSIONS = 1500
ROOT = Path(__file__).parents[2]


def short(protocol: str) -> Report:
    return run(Task(seed=1, protocols=(protocol,), sessions=SESSIONS))


# Sessions that never come past the greeting would break nothing either.
REACHED = {
    "smtp": "MAIL 250,MAIL 530,MAIL 553,RCPT 250,DATA 354,text 250,text 550,QUIT 221,VRFY 250,EXPN 250,"
    "STARTTLS 220,AUTH 235,AUTH 334,AUTH 454,AUTH 504,AUTH 538,AUTH 421,response 235,response 334,PLAIN in",
    "pop3": "CAPA +OK,DELE +OK,LAST +OK,LIST +OK,NOOP +OK,PASS +OK,QUIT +OK,RETR +OK,RSET +OK,STAT +OK,"
    "STLS +OK,AUTH +,AUTH +OK,APOP +OK,UTF8 +OK,UTF8 -ERR,LANG +OK,LANG -ERR,response +,"
    "response +OK,PLAIN in",
    "sasl": "PLAIN in,LOGIN in,CRAM-MD5 in,SCRAM-SHA-1 in,SCRAM-SHA-256 in,SCRAM-SHA-1-PLUS in,XOAUTH2 in,"
    "SCRAM-SHA-256-PLUS in,EXTERNAL in,OAUTHBEARER in,ANONYMOUS in,PLAIN too_long,LOGIN malformed,"
    "SCRAM-SHA-256 cancelled,SCRAM-SHA-256 credentials,PLAIN temporary,SCRAM-SHA-256 goes on",
}


@pytest.mark.parametrize("protocol", TARGETS)
def test_every_property_holds(protocol: str) -> None:
    report = short(protocol)
    assert report.failure is None, minimised(report.failure)
    assert report.sessions == SESSIONS
    seen = report.seen[protocol]
    assert [reply for reply in REACHED[protocol].split(",") if not seen[reply]] == []


def test_the_seed_and_the_number_make_the_session() -> None:
    task = Task(seed=5, protocols=("smtp", "pop3"), sessions=10)
    assert [session(task, number) for number in range(50)] == [session(task, number) for number in range(50)]
    assert {session(task, number)[0] for number in range(50)} == {"smtp", "pop3"}
    assert any(len(session(task, number)[2]) > 1 for number in range(50))
    assert session(task, 2) != session(attrs.evolve(task, seed=6), 2)


# ------------------------------------------------------------ that it finds what is wrong


def test_finds_an_end_of_text_that_is_missed_at_an_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    real = DotDecoder.feed

    def forgetful(self: DotDecoder, data: bytes) -> bytes:
        text = real(self, data)
        if not self.ended and self._held == b"\r\n.":
            text, self._held = text + b"\r\n", b"."
        return text

    monkeypatch.setattr(DotDecoder, "feed", forgetful)
    assert found("smtp").broken.startswith("pieces make no difference")


def test_finds_a_smuggled_message(monkeypatch: pytest.MonkeyPatch) -> None:
    real = DotDecoder.feed
    monkeypatch.setattr(
        DotDecoder, "feed", lambda self, data: real(self, data.replace(b"\n.\n", b"\r\n.\r\n"))
    )
    failure = found("smtp")
    assert b"\n.\n" in failure.stream[0]
    assert len(failure.stream[0]) < 150


def test_finds_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def fussy(self: LineBuffer, data: bytes) -> None:
        data.replace(b"\x00", b"\xff").decode()
        real(self, data)

    real = LineBuffer.feed
    monkeypatch.setattr(LineBuffer, "feed", fussy)
    failure = found("pop3")
    assert failure.broken == "no exception"
    assert "UnicodeDecodeError" in failure.detail
    assert len(b"".join(failure.stream)) == 1


def test_finds_a_reply_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = LineBuffer.next_line

    def hasty(self: LineBuffer) -> object:
        line = real(self)
        return real(self) if line == b"STAT" else line

    monkeypatch.setattr(LineBuffer, "next_line", hasty)
    assert b"STAT" in b"".join(found("pop3").stream)


def test_finds_memory_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    real = LineBuffer.feed

    def keep(self: LineBuffer, data: bytes) -> None:
        kept.append(data * 1000)
        real(self, data)

    monkeypatch.setattr(LineBuffer, "feed", keep)
    monkeypatch.setattr("tests.fuzz.campaign.WARM_UP", 50)
    monkeypatch.setattr("tests.fuzz.campaign.MEMORY_EVERY", 50)
    failure = short("pop3").failure  # to make it smaller would take all its sessions again and again
    assert failure is not None and failure.broken == "memory stays flat"


def test_finds_octets_in_the_clear_that_are_run_under_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2011-0411."""
    real = SMTPSession.starttls

    def careless(self: SMTPSession, argument: None) -> Any:
        behind = self._input.take_all()
        event = real(self, argument)
        self._input.feed(behind)
        return event

    for rows in (table(False, False, False), table(False, False, True)):
        monkeypatch.setitem(rows, b"STARTTLS", attrs.evolve(rows[b"STARTTLS"], run=careless))
    assert b"TLS" in found("smtp").stream[0].upper()


def test_finds_a_login_that_is_still_known_after_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    real = SMTPSession.secured

    def forgetless(self: SMTPSession, channel: Channel) -> None:
        user = self.user
        real(self, channel)
        self._login.user = user

    monkeypatch.setattr(SMTPSession, "secured", forgetless)
    failure = found("smtp")
    assert len(failure.stream[0]) < 300  # a login of SCRAM is long


@pytest.mark.parametrize(("protocol", "login"), [("smtp", SMTPLogin), ("pop3", POP3Login)])
def test_finds_secrets_that_are_read_in_the_clear(
    monkeypatch: pytest.MonkeyPatch, protocol: str, login: type
) -> None:
    real = login.__init__  # type: ignore[misc]

    def trusting(self: object, settings: object, *rest: object) -> None:
        real(self, attrs.evolve(settings, plaintext_auth=True), *rest)  # type: ignore[misc]

    monkeypatch.setattr(login, "__init__", trusting)
    assert found(protocol).broken in (
        "a secret is read only where a login is possible",
        "no password comes in the clear where it may not",
        "EHLO lists the mechanisms that can be used",
        "AUTH lists the mechanisms that can be used",
        "CAPA lists the mechanisms that can be used",
        "CAPA lists USER where it can be used",
    )


def test_finds_submission_without_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(False, True, True)
    monkeypatch.setitem(rows, b"MAIL", table(False, False, True)[b"MAIL"])
    assert found("smtp").broken == "nothing goes without a login where mail needs one"


@pytest.mark.parametrize("protocol", TARGETS)
def test_finds_a_proof_that_nobody_looks_at(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    blind = SimpleNamespace(digest=hmac.digest, compare_digest=lambda a, b: True)
    monkeypatch.setattr(scram, "hmac", blind)
    failure = found(protocol)
    assert failure.broken == "nobody is let in without a proof"
    assert b"SCRAM" in failure.stream[0]


def test_finds_a_channel_binding_that_nobody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scram, "_binding_data", lambda first, binding: scram.from_base64(b""))  # type: ignore[attr-defined]
    assert "PLUS" in found("sasl").detail


def test_finds_somebody_who_is_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Exchange.answer

    def strict(self: Exchange, answer: object) -> object:
        return self._fail(LoginFailed(Reason.CREDENTIALS)) if "tim" in self.name else real(self, answer)

    monkeypatch.setattr(Exchange, "answer", strict)
    assert found("sasl").broken == "who has the proof is let in"


def found(protocol: str) -> Failure:
    failure = short(protocol).failure
    assert failure is not None
    smaller = minimised(failure)
    assert smaller.broken == failure.broken
    assert len(b"".join(smaller.stream)) <= len(b"".join(failure.stream))
    return smaller


# ------------------------------------------------------------ the command


def test_the_command_runs_on_two_processes() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--sessions", "50", "--seed", "1", "--jobs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "50 sessions" in done.stdout


def test_a_failure_can_be_had_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        real = LineBuffer.next_line
        patch.setattr(LineBuffer, "next_line", lambda self: real(self) if b"NOOP" not in self._data else 0)
        assert main(["--sessions", "3000", "--seed", "1", "--protocol", "pop3"]) == 1
        said = capsys.readouterr().out.splitlines()
        assert "FAILED: no exception" in said
        assert any(line.startswith("seed 1, session ") for line in said)
        words = said[-1].partition("tests.fuzz ")[2].split(" ")
        assert words[0] == "--replay"
        assert words[1].endswith(":NOOP")
        assert main(words) == 1
    assert main(words) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--sessions", "0"],
        ["--minutes", "-1"],
        ["--protocol", "imap"],
        ["--replay", "smtp"],
        ["--replay", "smtp:x:"],
    ],
    ids=" ".join,
)
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    out, error = capsys.readouterr()
    assert (out, words[0] in error) == ("", True)
