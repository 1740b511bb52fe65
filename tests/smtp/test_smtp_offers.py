"""EHLO and LHLO list what a session can use, before and after TLS and a login, on each kind of listener."""

import itertools

import attrs
import pytest

from mailserver.smtp.extensions import EXTENSIONS
from tests.support.session_server import HANDSHAKE
from tests.support.smtp import SETTINGS, FakeServer

LOGIN = b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"
# A command that only works with the extension, for each of those that are not always there.
MAIL_TO_BOB = b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
USES = {
    "SIZE": b"MAIL FROM:<alice@example.org> SIZE=1\r\n",
    "8BITMIME": b"MAIL FROM:<alice@example.org> BODY=8BITMIME\r\n",
    "CHUNKING": MAIL_TO_BOB + b"BDAT 2 LAST\r\n\r\n",
    "BINARYMIME": b"MAIL FROM:<alice@example.org> BODY=BINARYMIME\r\n",
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
    "ATRN": b"ATRN example.net\r\n",
    "NO-SOLICITING": b"MAIL FROM:<alice@example.org> SOLICIT=org.example:ADV\r\n",
    "XCLIENT": b"XCLIENT ADDR=192.0.2.1\r\n",
    "XFORWARD": b"XFORWARD ADDR=192.0.2.1\r\n",
    "HELP": b"HELP\r\n",
}


HELLO = {True: b"LHLO", False: b"EHLO"}


def session(
    hello: bytes, *, lmtp: bool, submission: bool, tls: bool, login: bool, more: bool, trusted: bool = False
) -> FakeServer:
    """A session in which ``hello`` is said last. ``more``: there is something for ETRN and ATRN. ``trusted``:
    for XCLIENT and XFORWARD, and solicitations are not wanted."""
    settings = attrs.evolve(
        SETTINGS,
        lmtp=lmtp,
        submission=submission,
        starttls=True,
        mechanisms=("PLAIN",),
        plaintext_auth=True,
        queue_starts=more,
        fetches=more,
        xclient=trusted,
        xforward=trusted,
        no_soliciting=("example:ADV",) if trusted else (),
    )
    server = FakeServer(settings)
    server.greeting()
    server.feed(HELLO[lmtp] + b" c\r\n")
    if tls:
        server.feed(b"STARTTLS\r\n")
        server.feed(HANDSHAKE)
        server.feed(HELLO[lmtp] + b" c\r\n")
    if login:
        assert server.feed(LOGIN).startswith(b"235")
    if hello != HELLO[lmtp]:
        server.feed(hello + b" c\r\n")
    return server


SESSIONS = [
    dict(zip(("lmtp", "submission", "tls", "login", "more", "trusted"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=6)
    if not (flags[0] and (flags[1] or flags[4]))  # LMTP is no submission, and has no ETRN and ATRN
]


@pytest.mark.parametrize("case", SESSIONS, ids=lambda case: "-".join(name for name in case if case[name]))
def test_an_extension_is_listed_where_it_can_be_used(case: dict[str, bool]) -> None:
    lmtp, submission, login = case["lmtp"], case["submission"], case["login"]
    hello = HELLO[lmtp]
    lines = session(hello, **case).feed(hello + b" c\r\n").decode().splitlines()[1:]
    listed = {line[4:].split()[0] for line in lines}
    # RFC 2033 section 4.1 requires the first two.
    assert listed - set(USES) == {"PIPELINING", "ENHANCEDSTATUSCODES", "LIMITS"}
    assert set(USES) | listed == {extension.keyword for extension in EXTENSIONS}
    for keyword, command in USES.items():
        code = session(hello, **case).feed(command).splitlines()[-1][:3]
        if code == b"530":  # after a login it works
            assert not login
            assert (submission and keyword not in ("STARTTLS", "AUTH")) or keyword == "ATRN"
        else:
            assert (code[:1] == b"2" and code != b"252") == (keyword in listed), (keyword, code)
        # HELO changes nothing: some clients send it and parameters nevertheless. LMTP does not know it.
        assert session(b"HELO", **case).feed(command).splitlines()[-1][:3] == code


def test_lmtp_is_no_submission() -> None:
    """The client is another mail server: it asks for no priority, and holds its messages itself."""
    for tls, login in itertools.product((False, True), repeat=2):
        server = session(b"LHLO", lmtp=True, submission=False, tls=tls, login=login, more=False)
        listed = server.feed(b"LHLO c\r\n").decode()
        assert not any(keyword in listed for keyword in ("MT-PRIORITY", "FUTURERELEASE", "ETRN", "ATRN"))
