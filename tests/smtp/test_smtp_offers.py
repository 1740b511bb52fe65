"""What EHLO lists is what a session can use, before and after TLS and a login, on both kinds of listener."""

import itertools

import attrs
import pytest

from mailserver.smtp.extensions import EXTENSIONS
from tests.support.session_server import HANDSHAKE
from tests.support.smtp import SETTINGS, FakeServer

LOGIN = b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"
# A command that only works with the extension, for each of those that are not always there.
USES = {
    "SIZE": b"MAIL FROM:<alice@example.org> SIZE=1\r\n",
    "8BITMIME": b"MAIL FROM:<alice@example.org> BODY=8BITMIME\r\n",
    "SMTPUTF8": b"MAIL FROM:<alice@example.org> SMTPUTF8\r\n",
    "DSN": b"MAIL FROM:<alice@example.org> RET=HDRS\r\n",
    "MT-PRIORITY": b"MAIL FROM:<alice@example.org> MT-PRIORITY=1\r\n",
    "DELIVERBY": b"MAIL FROM:<alice@example.org> BY=1;R\r\n",
    "FUTURERELEASE": b"MAIL FROM:<alice@example.org> HOLDFOR=1\r\n",
    "REQUIRETLS": b"MAIL FROM:<alice@example.org> REQUIRETLS\r\n",
    "STARTTLS": b"STARTTLS\r\n",
    "AUTH": LOGIN,
    "EXPN": b"EXPN club\r\n",
    "ETRN": b"ETRN example.net\r\n",
    "HELP": b"HELP\r\n",
}


def session(*, submission: bool, tls: bool, login: bool, hello: bytes, queue_starts: bool) -> FakeServer:
    settings = attrs.evolve(
        SETTINGS,
        submission=submission,
        starttls=True,
        mechanisms=("PLAIN",),
        plaintext_auth=True,
        queue_starts=queue_starts,
    )
    server = FakeServer(settings)
    server.greeting()
    server.feed(b"EHLO c\r\n")
    if tls:
        server.feed(b"STARTTLS\r\n")
        server.feed(HANDSHAKE)
        server.feed(b"EHLO c\r\n")
    if login:
        assert server.feed(LOGIN).startswith(b"235")
    if hello != b"EHLO":
        server.feed(hello + b" c\r\n")
    return server


@pytest.mark.parametrize(
    ("submission", "tls", "login", "queue_starts"), [*itertools.product((False, True), repeat=4)]
)
def test_an_extension_is_listed_where_it_can_be_used(
    submission: bool, tls: bool, login: bool, queue_starts: bool
) -> None:
    def server(hello: bytes = b"EHLO") -> FakeServer:
        return session(submission=submission, tls=tls, login=login, hello=hello, queue_starts=queue_starts)

    lines = server().feed(b"EHLO c\r\n").decode().splitlines()[1:]
    listed = {line[4:].split()[0] for line in lines}
    assert listed - set(USES) == {"PIPELINING", "ENHANCEDSTATUSCODES"}
    assert set(USES) | listed | {"ATRN"} == {extension.keyword for extension in EXTENSIONS}
    for keyword, command in USES.items():
        code = server().feed(command)[:3]
        if code == b"530":  # after a login it works
            assert submission and not login and keyword not in ("STARTTLS", "AUTH")
        else:
            assert (code in (b"220", b"235", b"250", b"253", b"214")) == (keyword in listed), (keyword, code)
        # HELO changes nothing: some clients send it and parameters nevertheless.
        assert server(b"HELO").feed(command)[:3] == code
