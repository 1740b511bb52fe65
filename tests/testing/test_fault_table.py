"""Each act at each moment where it makes sense, in both protocols, as a plain socket sees it."""

import re
from functools import cache
from typing import Any

import attrs
import pytest

from mailserver.faults.moments import POP3, SMTP
from mailserver.testing.server import MailServer
from tests.support.fault_table import ACTS, DOCUMENT, VERBS, is_allowed, updated
from tests.support.probe import END, MAILBOX, RESET, Probe, Scene

HELLO = b"EHLO c\r\n"
ENVELOPE = HELLO + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\n"
TEXT = b"Subject: x\r\n\r\ntext\r\n.\r\n"
LOGIN = b"USER bob@example.test\r\nPASS secret\r\n"
PLAIN = b"AGJvYkBleGFtcGxlLnRlc3QAc2VjcmV0\r\n"

_SMTP: dict[str, dict[str, bytes]] = {
    "AUTH": {"before": HELLO, "sent": b"AUTH PLAIN " + PLAIN},
    "STARTTLS": {"before": HELLO, "follow": b""},
    "MAIL": {"before": HELLO, "sent": b"MAIL FROM:<a@b.example>\r\n"},
    "RCPT": {"before": ENVELOPE, "sent": b"RCPT TO:<eve@example.test>\r\n"},
    "DATA": {"before": ENVELOPE, "follow": b"bare\n\r\n.\r\n"},  # it is not stored
    "BDAT": {"before": ENVELOPE, "sent": b"BDAT 11\r\nSubject: x\n"},
    "EHLO": {"sent": HELLO},
    "HELO": {"sent": b"HELO c\r\n"},
    "VRFY": {"before": HELLO, "sent": b"VRFY bob\r\n"},
    "QUIT": {"follow": b""},
}
_POP3: dict[str, dict[str, bytes]] = {
    "CAPA": {"before": b""},
    "STLS": {"before": b"", "follow": b""},
    "USER": {"before": b"", "sent": b"USER bob@example.test\r\n"},
    "PASS": {"before": b"USER bob@example.test\r\n", "sent": b"PASS secret\r\n"},
    "AUTH": {"before": b"", "sent": b"AUTH PLAIN " + PLAIN},
    "RETR": {"sent": b"RETR 1\r\n"},
    "TOP": {"sent": b"TOP 1 0\r\n"},
    "DELE": {"sent": b"DELE 1\r\n"},
    "QUIT": {"before": LOGIN + b"DELE 1\r\n", "follow": b""},
}


def _verb(protocol: str, verb: str) -> Scene:
    more: Any = _SMTP.get(verb, {}) if protocol == SMTP else {"before": LOGIN, **_POP3.get(verb, {})}
    return Scene(protocol, verb, **{"sent": verb.encode() + b"\r\n", **more})


def _at(scene: Scene, octet: int = 4) -> Scene:
    return attrs.evolve(scene, at=octet)


_DOT = Scene(SMTP, "dot", TEXT, ENVELOPE + b"DATA\r\n")
_LAST = Scene(SMTP, "dot", b"BDAT 0 LAST\r\n", ENVELOPE + b"BDAT 5\r\nab: c", variant=" by BDAT")
_LAST_IN_ONE = attrs.evolve(_LAST, sent=b"BDAT 2 LAST\r\n\r\n", variant=" by a chunk")
_RESPONSES = {
    SMTP: Scene(SMTP, "auth step", PLAIN, HELLO + b"AUTH PLAIN\r\n"),
    POP3: Scene(POP3, "auth step", PLAIN, b"AUTH PLAIN\r\n"),
}
SCENES: list[Scene] = [
    *[_verb(protocol, verb) for protocol, verbs in VERBS.items() for verb in verbs],
    *[Scene(protocol, moment) for protocol in VERBS for moment in ("connect", "greeting")],
    *[_at(Scene(protocol, "greeting")) for protocol in VERBS],
    *_RESPONSES.values(),
    *[_at(scene) for scene in _RESPONSES.values()],
    Scene(SMTP, "tls", b"STARTTLS\r\n", HELLO, b""),
    Scene(POP3, "tls", b"STLS\r\n", b"", b""),
    *[_at(_verb(SMTP, verb)) for verb in ("EHLO", "RCPT", "XFOO", "QUIT")],
    *[_at(_verb(POP3, verb)) for verb in ("CAPA", "STAT", "LIST", "UIDL", "RETR", "TOP", "QUIT")],
    _at(_verb(POP3, "RETR"), 30),
    *[Scene(SMTP, "DATA", TEXT, ENVELOPE + b"DATA\r\n", at=octet) for octet in (1, 9, len(TEXT))],
    *[Scene(SMTP, "BDAT", b"BDAT 11 LAST\r\nSubject: x\n", ENVELOPE, at=octet) for octet in (1, 11)],
    *[
        attrs.evolve(each, moment=moment)
        for each in (_DOT, _LAST, _LAST_IN_ONE)
        for moment in ("dot", "stored")
    ],
    _at(_DOT),
    attrs.evolve(_verb(POP3, "QUIT"), moment="removed"),
]
CASES = [
    pytest.param(scene, act, id=f"{scene} {act}")
    for scene in SCENES
    for act in ACTS
    if is_allowed(scene.protocol, scene.moment, scene.at, act)
]

# In place of the command, which has no effect then.
IN_PLACE = ("reply", "raw", "locked", "hang", "reset", "close", "half_close")
SAID = {
    "reply": {SMTP: b"450 4.0.0 no\r\n", POP3: b"-ERR no\r\n"},
    "raw": dict.fromkeys((SMTP, POP3), b"!\r\n"),
    "locked": {POP3: b"-ERR [IN-USE] the maildrop is locked by another session\r\n"},
}
MORE = {SMTP: b"250 more\r\n", POP3: b"+OK more\r\n"}


def server_of(scene: Scene) -> MailServer:
    """A server whose replies are the same each time, with two messages in a mailbox for POP3."""
    server = MailServer(seed=1, auth={"mechanisms": ["PLAIN"]}).start()
    if scene.protocol == POP3:
        for subject in (b"a", b"b"):
            server.deliver(b"Subject: " + subject + b"\r\n\r\n.text\r\n", to=MAILBOX)
    return server


@cache
def usual(scene: Scene) -> tuple[bytes, bytes, int, int]:
    """Without a rule: the reply, the reply to what follows, the messages before and after the moment."""
    server = server_of(scene)
    try:
        probe = Probe(server, scene)
        probe.go()
        before = probe.messages
        probe.trigger()
        reply = probe.take()
        probe.send(scene.follow)
        followed = probe.take()
        probe.close()
        return reply, followed, before, probe.messages
    finally:
        server.stop()


class Check:
    """The effect of an act, after its moment has come."""

    def __init__(self, probe: Probe, act: str) -> None:
        self.probe = probe
        self.scene = scene = probe.scene
        reply, self.followed, self.before, self.after = usual(scene)
        self.is_text = scene.at is not None and scene.moment in ("DATA", "BDAT")
        at = 0 if self.is_text else scene.at or 0
        # The reply is sent up to there before the rule acts.
        self.head, self.rest = reply[:at], reply[at:]
        assert self.rest
        is_late = scene.moment in ("stored", "removed") or (scene.at is not None and not self.is_text)
        goes_on = self.is_text and act in SAID
        self.runs = act not in IN_PLACE or is_late or goes_on
        # After it nothing can be said in this session.
        self.is_last = not scene.follow

    def said(self, *parts: bytes) -> None:
        """This has arrived, and nothing more, and the connection is as after that reply."""
        expected = self.head + b"".join(parts)
        assert self.probe.take(octets=len(expected)) == expected
        if not self.is_last:
            self.follows(self.followed)
        elif self.scene.moment in ("QUIT", "removed"):
            assert self.probe.ended == END

    def follows(self, *parts: bytes) -> None:
        """This comes next."""
        assert self.probe.ended == ""
        self.probe.send(self.scene.follow)
        expected = b"".join(parts)
        assert self.probe.take(octets=len(expected)) == expected

    def ends(self, how: str) -> None:
        """The connection has ended."""
        assert (self.probe.take(), self.probe.ended) == (self.head, how)

    # ------------------------------------------------------------ acts

    def reply(self, act: str) -> None:
        said = SAID[act][self.scene.protocol]
        if self.is_text:
            self.said(said, self.rest)
            return
        assert self.probe.take(octets=len(self.head + said)) == self.head + said
        if self.scene.moment in ("connect", "removed") or (self.scene.moment == "QUIT" and self.scene.at):
            assert self.probe.ended == END
            return
        # The session is where it was before the command.
        self.probe.send(b"XBAR\r\n")
        assert self.probe.take().startswith((b"500 ", b"-ERR "))

    raw = locked = reply

    def extra(self, act: str) -> None:
        self.said(self.rest, MORE[self.scene.protocol])

    def delay(self, act: str) -> None:
        assert self.probe.take(octets=len(self.head)) == self.head
        assert self.probe.take("59m") == b""
        got = self.probe.take("1m")
        assert got == self.rest if self.scene.moment != "tls" else got.startswith(b"\x16\x03")
        self.head = b""
        self.said()

    def drip(self, act: str) -> None:
        assert self.probe.take(octets=len(self.head)) == self.head
        got = self.probe.take(50.0 * 3, octets=3)
        assert got == self.rest[:3]
        while len(got) < len(self.rest):
            more = self.probe.take(50.0, octets=1)
            assert len(more) == 1 and self.probe.ended != RESET
            got += more
            if len(got) == 12 < len(self.rest) - 12:
                many = len(self.rest) - 20
                got += self.probe.take(50.0 * many, octets=many)
        assert got == self.rest
        self.head = b""
        self.said()

    def truncate(self, act: str) -> None:
        self.said(self.rest[:3])

    def corrupt(self, act: str) -> None:
        got = self.probe.take(octets=len(self.head + self.rest))
        assert len(got) == len(self.head + self.rest) and got.startswith(self.head)
        assert sum(a != b for a, b in zip(got, self.head + self.rest, strict=True)) == 1
        self.head = b""
        self.said()

    def garbage(self, act: str) -> None:
        got = self.probe.take().removeprefix(self.head)
        assert re.fullmatch(rb"[\x80-\xff]{8}\r\n", got)
        self.head = b""
        self.said()

    def swap(self, act: str) -> None:
        assert self.probe.take() == b""
        self.follows(self.followed, self.rest)

    def silence(self, act: str) -> None:
        self.said()

    def lose(self, act: str) -> None:
        self.ends(RESET)

    def lie(self, act: str) -> None:
        got, true = (
            [int(digits) for digits in re.findall(rb"\d+", data)] for data in (self.probe.take(), self.rest)
        )
        lies = {"STAT": [0, 100], "LIST": [0, 100, 0, 100, 0, 100], "RETR": [100] + [0] * (len(true) - 1)}
        assert [a - b for a, b in zip(got, true, strict=True)] == lies[self.scene.moment]

    def hang(self, act: str) -> None:
        assert self.probe.take(octets=len(self.head)) == self.head
        assert self.probe.take("2d") == b"" and self.probe.ended == ""
        assert self.probe.accepts_input() and self.probe.take() == b""

    def reset(self, act: str) -> None:
        self.ends(RESET)

    def close_(self, act: str) -> None:
        self.ends(END)
        assert not self.probe.accepts_input()

    def half_close(self, act: str) -> None:
        self.ends(END)
        assert self.probe.accepts_input()

    def cut(self, act: str) -> None:
        got = self.probe.take()
        assert 0 < len(got) < 10 and got.startswith(b"\x16\x03") and self.probe.ended == RESET


@pytest.mark.parametrize(("scene", "act"), CASES)
def test_what_a_socket_gets(scene: Scene, act: str) -> None:
    server = server_of(scene)
    probe = Probe(server, scene)
    try:
        probe.go()
        protocol = server.smtp if scene.protocol == SMTP else server.pop3
        builder = ACTS[act](protocol.on(scene.moment, at=scene.at)).times(1)
        check = Check(probe, act)
        assert probe.messages == check.before
        probe.trigger()
        getattr(check, "close_" if act == "close" else act)(act)
        assert builder.fired == 1
        assert probe.messages == (check.after if check.runs else check.before)
    finally:
        probe.close()
        server.stop()


def test_the_table_is_in_the_documentation() -> None:
    page = DOCUMENT.read_text()
    assert page == updated(page), "run python -m tests.support.fault_table"


def test_the_table_is_large() -> None:
    assert len(CASES) > 500
    effects = [usual(scene) for scene in SCENES]
    assert sum(before != after for _, _, before, after in effects) > 12
