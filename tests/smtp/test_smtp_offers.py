"""EHLO and LHLO list what a session can use, before and after TLS and a login, on each kind of listener."""

import itertools
import re
from typing import Any

import attrs
import pytest

from mailserver.smtp.extensions import EXTENSIONS
from tests.support.session_server import HANDSHAKE
from tests.support.smtp import SETTINGS, FakeServer

Settings = dict[str, dict[str, Any]]
LOGIN = b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"
MAIL = b"MAIL FROM:<alice@example.org>"
RCPT = b"RCPT TO:<bob@example.org>"
MAIL_TO_BOB = MAIL + b"\r\n" + RCPT + b"\r\n"
# Commands that only work with the extension; all of them do if one does.
USES = {
    "PIPELINING": [b"NOOP\r\nRSET\r\nNOOP\r\n"],
    "SIZE": [MAIL + b" SIZE=1\r\n"],
    "8BITMIME": [MAIL + b" BODY=7BIT\r\n", MAIL + b" BODY=8BITMIME\r\n"],
    "CHUNKING": [MAIL_TO_BOB + b"BDAT 2 LAST\r\n\r\n", MAIL_TO_BOB + b"BDAT 2\r\n\r\nBDAT 0 LAST\r\n"],
    "BINARYMIME": [MAIL + b" BODY=BINARYMIME\r\n"],
    "SMTPUTF8": [
        MAIL + b" SMTPUTF8\r\n",
        MAIL + b" SMTPUTF8\r\nRCPT TO:<zo\xc3\xab@example.org>\r\n",
        b"MAIL FROM:<> SMTPUTF8\r\n",
    ],
    "ENHANCEDSTATUSCODES": [b"NOOP\r\n", b"RSET\r\n"],
    "STARTTLS": [b"STARTTLS\r\n"],
    "AUTH": [LOGIN],
    "DSN": [
        MAIL + b" RET=HDRS ENVID=x\r\n",
        MAIL + b"\r\n" + RCPT + b" NOTIFY=NEVER ORCPT=rfc822;bob@example.org\r\n",
    ],
    "MT-PRIORITY": [MAIL + b" MT-PRIORITY=1\r\n"],
    "DELIVERBY": [MAIL + b" BY=1;R\r\n", MAIL + b" BY=-1;NT\r\n"],
    "FUTURERELEASE": [MAIL + b" HOLDFOR=1\r\n", MAIL + b" HOLDUNTIL=2030-01-31T09:30:00Z\r\n"],
    "REQUIRETLS": [MAIL + b" REQUIRETLS\r\n"],
    "LIMITS": [MAIL + b"\r\n" + (RCPT + b"\r\n") * 3],
    "NO-SOLICITING": [MAIL + b" SOLICIT=org.example:ADV\r\n"],
    "EXPN": [b"EXPN club\r\n"],
    "ETRN": [b"ETRN example.net\r\n"],
    "ATRN": [b"ATRN example.net\r\n"],
    "XCLIENT": [b"XCLIENT ADDR=192.0.2.1\r\n"],
    "XFORWARD": [b"XFORWARD ADDR=192.0.2.1\r\n"],
    "HELP": [b"HELP\r\n", b"HELP HELP\r\n"],
}
ANYBODYS = {"PIPELINING", "ENHANCEDSTATUSCODES", "STARTTLS", "AUTH", "XCLIENT", "XFORWARD", "HELP"}
KINDS: Settings = {
    "smtp": {},
    "submission": {"submission": True},
    "lmtp": {"lmtp": True},
    "lmtp of another machine": {"lmtp": True, "trusted": False},
}
TLS: Settings = {
    "no TLS": {"starttls": False},
    "before STARTTLS": {"starttls": True},
    "after STARTTLS": {"starttls": True},
    "TLS from the start": {"starttls": True},
}
LOGINS: Settings = {
    "no AUTH": {"mechanisms": ()},
    "AUTH under TLS": {"plaintext_auth": False},
    "before AUTH": {"plaintext_auth": True},
    "after AUTH": {"plaintext_auth": True},
}
EXTRAS: Settings = {
    "ETRN": {"queue_starts": True},
    "ATRN": {"fetches": True},
    "XCLIENT": {"xclient": True},
    "XFORWARD": {"xforward": True},
    "NO-SOLICITING": {"no_soliciting": ("example:ADV",)},
    "EXPN": {"verify": "always"},
}


@attrs.frozen
class Situation:
    """In which an extension is used. ``extras`` are the keywords of those that the configuration permits."""

    kind: str
    tls: str
    login: str
    extras: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join((self.kind, self.tls, self.login, *self.extras))

    @property
    def hello(self) -> bytes:
        return b"LHLO" if self.kind.startswith("lmtp") else b"EHLO"

    def session(self, hello: bytes) -> FakeServer:
        """A session in which ``hello`` is said last."""
        settings: dict[str, Any] = {"mechanisms": ("PLAIN",), "max_recipients": 3}
        settings |= KINDS[self.kind] | TLS[self.tls] | LOGINS[self.login]
        for extra in self.extras:
            settings |= EXTRAS[extra]
        server = FakeServer(attrs.evolve(SETTINGS, **settings), secure=self.tls == "TLS from the start")
        server.greeting()
        server.feed(self.hello + b" c\r\n")
        if self.tls == "after STARTTLS":
            server.feed(b"STARTTLS\r\n")
            server.feed(HANDSHAKE)
            server.feed(self.hello + b" c\r\n")
        if self.login == "after AUTH":
            assert server.feed(LOGIN).startswith(b"235")
        if hello != self.hello:
            server.feed(hello + b" c\r\n")
        return server

    def listed(self) -> dict[str, str]:
        """The values of the keywords in the reply."""
        lines = self.session(self.hello).feed(self.hello + b" c\r\n").decode().splitlines()[1:]
        return dict(line[4:].partition(" ")[::2] for line in lines)

    def codes(self, command: bytes, hello: bytes) -> list[bytes]:
        """The replies to a command after ``hello``, without their texts."""
        replies = self.session(hello).feed(command)
        return re.findall(rb"(?m)^(\d{3} (?:\d\.\d\.\d+ )?)", replies)


# A listener for LMTP never permits ETRN and ATRN.
PERMITTED = {
    kind: [extra for extra in EXTRAS if not (kind.startswith("lmtp") and "TRN" in extra)] for kind in KINDS
}
SITUATIONS = [
    Situation(kind, tls, login, tuple(extras))
    for kind in KINDS
    for situations, choices in (
        (itertools.product(TLS, LOGINS), [(), PERMITTED[kind]]),
        (itertools.product(["after STARTTLS"], ["before AUTH", "after AUTH"]), zip(PERMITTED[kind])),
    )
    for (tls, login), extras in itertools.product(situations, choices)
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_an_extension_is_listed_where_it_can_be_used(situation: Situation) -> None:
    listed = situation.listed()
    assert listed.keys() <= USES.keys() == {extension.keyword for extension in EXTENSIONS}
    for keyword, commands in USES.items():
        for command in commands:
            codes = situation.codes(command, situation.hello)
            if codes[-1].startswith(b"530"):
                assert keyword not in ANYBODYS and situation.login != "after AUTH"
                codes = attrs.evolve(situation, login="after AUTH").codes(command, situation.hello)
                if keyword not in listed:  # after a login it may be
                    continue
            works = codes[-1].startswith(b"2") and not codes[-1].startswith(b"252")
            # RFC 2033 section 4.1 requires PIPELINING and ENHANCEDSTATUSCODES.
            assert works == (keyword in listed), (keyword, command, codes)
            if b"BDAT" not in command:
                assert len(codes) == command.count(b"\r\n"), "one reply for each command"
            # HELO changes nothing: some clients send it and parameters nevertheless. LMTP does not know it.
            after_helo = situation.codes(command, b"HELO")
            assert after_helo == situation.codes(command, situation.hello), keyword


@pytest.mark.parametrize("situation", SITUATIONS[:: len(EXTRAS)], ids=str)
def test_what_the_values_say(situation: Situation) -> None:
    listed = situation.listed()
    assert listed["SIZE"] == str(SETTINGS.max_message_size)
    assert listed["LIMITS"] == "RCPTMAX=3"
    assert listed.get("AUTH", "PLAIN") == "PLAIN"
    fourth = situation.codes(MAIL + b"\r\n" + (RCPT + b"\r\n") * 4, situation.hello)[-1]
    assert fourth in (b"452 4.5.3 ", b"530 5.7.0 ")
    too_big = situation.codes(MAIL + b" SIZE=%d\r\n" % (SETTINGS.max_message_size + 1), situation.hello)[-1]
    assert too_big in (b"552 5.3.4 ", b"530 5.7.0 ")


def test_what_each_situation_lists() -> None:
    """The rules of docs/protocols.md."""
    always = {"PIPELINING", "SIZE", "8BITMIME", "CHUNKING", "BINARYMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"}
    always |= {"DSN", "DELIVERBY", "LIMITS", "HELP"}
    for situation in SITUATIONS:
        tls, login, extras = situation.tls, situation.login, set(situation.extras)
        secure = tls in ("after STARTTLS", "TLS from the start")
        expected = always | extras
        if tls == "before STARTTLS":
            expected |= {"STARTTLS"}
        if login == "before AUTH" or (login == "AUTH under TLS" and secure):
            expected |= {"AUTH"}
        if secure:
            expected |= {"REQUIRETLS"}
        if login == "after AUTH":
            expected |= {"EXPN"}
        # The client of LMTP is another mail server: it asks for no priority, and holds its messages itself.
        if situation.hello != b"LHLO" and (situation.kind == "submission" or login == "after AUTH"):
            expected |= {"MT-PRIORITY", "FUTURERELEASE"}
        assert situation.listed().keys() == expected, situation


@pytest.mark.parametrize("kind", KINDS)
def test_each_extension_has_help(kind: str) -> None:
    situation = Situation(kind, "no TLS", "no AUTH")
    for extension in EXTENSIONS:
        assert situation.codes(b"HELP %b\r\n" % extension.keyword.encode(), situation.hello) == [
            b"214 2.0.0 "
        ]
