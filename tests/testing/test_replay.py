"""Recorded clients that are repeated: against the real server, and against servers that differ."""

import poplib
import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailserver.faults.transcript import MASK, MAX_KEPT, Transcript
from mailserver.testing.replay import differences, replay
from mailserver.testing.reply_counter import ReplyCounter

RECORDED = Path(__file__).parent / "transcripts"
ADDRESS = "alice@example.test"  # in the files
PATIENCE = 30.0  # seconds


def url(scheme: str, address: tuple[str, int]) -> str:
    return f"{scheme}://{address[0]}:{address[1]}"


def record(protocol: str, *lines: str) -> Transcript:
    """A transcript by its dialogue: C a command, R a response of AUTH, M a message, S a reply, - an event."""
    transcript = Transcript("1", protocol, "127.0.0.1", 0.0)
    for line in lines:
        kind, text = line[0], line[2:]
        data = (text + "\r\n").encode()
        match kind:
            case "M":
                transcript.text(data.replace(b"|", b"\r\n"), 0, False)
            case "S":
                transcript.reply(data.replace(b"|", b"\r\n"), 0, False)
            case "-":
                transcript.event(text, 0, False)
            case _:
                transcript.command(data, 0, tls=False, in_login=kind == "R")
    return transcript


# ------------------------------------------------------------ against the real server


def test_recorded_files(account) -> None:
    """Mail is submitted, then read and removed, with STARTTLS and STLS."""
    for name, protocol, scheme in (("submission", "submission", "smtp"), ("pop3", "pop3", "pop3")):
        text = (RECORDED / f"{name}.jsonl").read_text()
        old = Transcript.from_json_lines(text.replace(ADDRESS, account.address))
        where = url(scheme, account.server.address(protocol, "starttls"))
        new = replay(old, where, password=account.password, ssl_context=account.context, timeout=PATIENCE)
        assert differences(old, new) == [], new.dialogue()
        assert "TLSv1.3" in new.dialogue() and account.password not in new.json_lines()
        assert new.entries[-1].text == "connection closed"
        assert replay(old, where, timeout=PATIENCE).entries[-1].text.startswith("[SSL: CERTIFICATE_VERIFY")
    assert "Subject: recorded" in "".join(new.replies)


EHLO = ("S 220 old", "C EHLO client", "S 250 old")
LOGINS = [
    ("smtp", f"C AUTH PLAIN {MASK}"),
    ("smtp", "C AUTH PLAIN", "S 334 ", f"R {MASK}"),
    ("smtp", "C AUTH LOGIN", "S 334 VXNlcm5hbWU6", f"R {MASK}", "S 334 UGFzc3dvcmQ6", f"R {MASK}"),
    ("smtp", f"C AUTH LOGIN {MASK}", "S 334 UGFzc3dvcmQ6", f"R {MASK}"),
    ("smtp", "C AUTH CRAM-MD5", "S 334 PDEuMkBhPg==", f"R {MASK}"),
    ("smtp", f"C AUTH SCRAM-SHA-256 {MASK}", "S 334 cj1h", f"R {MASK}", "S 334 dj1h", "R "),
    ("pop3", f"C AUTH PLAIN {MASK}"),
    ("pop3", "C auth scram-sha-1", "S + ", f"R {MASK}", "S + cj1h", f"R {MASK}", "S + dj1h", f"R {MASK}"),
    ("pop3", "C APOP NAME " + MASK),
    ("pop3", "C USER NAME", "S +OK", "C PASS " + MASK),
]


@pytest.mark.parametrize("lines", LOGINS, ids=lambda lines: " ".join(lines[1].split()[1:3]))
def test_logins(account, lines) -> None:
    protocol, *rest = (line.replace("NAME", account.address) for line in lines)
    good = "S 235 in" if protocol == "smtp" else "S +OK in"
    begin = EHLO if protocol == "smtp" else ("S +OK old",)
    old = record(protocol, *begin, *rest, good, f"- logged in as {account.address}", "C QUIT", good)
    name, scheme = ("submission", "smtps") if protocol == "smtp" else ("pop3", "pop3s")
    where = url(scheme, account.server.address(name, "implicit"))
    new = replay(old, where, password=account.password, ssl_context=account.context, timeout=PATIENCE)
    assert new.replies[-2].startswith(good.split()[1]), new.dialogue()
    wrong = replay(old, where, password="wrong", ssl_context=account.context, timeout=PATIENCE)
    assert any(reply.startswith(("535", "-ERR")) for reply in wrong.replies), wrong.dialogue()
    named = record(protocol, *begin, *rest, good)
    again = replay(
        named,
        where,
        password=account.password,
        user=account.address,
        ssl_context=account.context,
        timeout=PATIENCE,
    )
    assert again.replies[-1].startswith(good.split()[1])


# ------------------------------------------------------------ sessions of the fixture


def test_a_session_of_a_real_client(make_mailserver) -> None:
    """What smtplib has said to one server is said to another one, whose rule shows as a difference."""
    one, other = make_mailserver(), make_mailserver()
    with smtplib.SMTP(one.smtp.host, one.smtp.port) as client:
        client.starttls(context=one.ssl_context())
        client.login("tim@example.test", "secret")
        client.sendmail("tim@example.test", ["bob@example.test"], "Subject: again\r\n\r\n.hello\r\n")
    old = one.wait_for(subject="again").session.transcript
    new = replay(old, other.smtp_url, ssl_context=other.ssl_context(), timeout=PATIENCE)
    assert differences(old, new) == []
    mail = other.wait_for(subject="again")
    assert mail.raw.endswith(b"\r\n\r\n.hello\r\n") and mail.session.account == "tim@example.test"
    other.smtp.on("RCPT").reply(451, "4.2.1", "busy").times(1)
    new = replay(old, other.smtp_url, ssl_context=other.ssl_context(), timeout=PATIENCE)
    rcpt, data, *_ = differences(old, new)
    assert rcpt == "rcpt TO:<bob@example.test>: 250 2.1.5 became 451 4.2.1" and data.startswith("data: 354")


def test_a_session_of_poplib(make_mailserver) -> None:
    server = make_mailserver()
    server.deliver(b"Subject: one\r\n\r\n..\r\n", to="bob@example.test")
    client = poplib.POP3(server.pop3.host, server.pop3.port)
    client.stls(context=server.ssl_context())
    client.user("bob@example.test")
    client.pass_("secret")
    for ask in (client.list, client.uidl, lambda: client.retr(1), lambda: client.top(1, 0), client.quit):
        ask()
    old = server.wait_for_session(protocol="pop3", closed=True).transcript
    new = replay(old, server.pop3_url, ssl_context=server.ssl_context(), timeout=PATIENCE)
    assert differences(old, new) == [] and "Subject: one" in new.dialogue()


# ------------------------------------------------------------ against servers that differ


@contextmanager
def canned(
    replies: dict[bytes, bytes], greeting: bytes = b"220 new\r\n"
) -> Iterator[tuple[str, list[bytes]]]:
    """A server that replies by the verb, by default 250. "" closes the connection, None says nothing."""
    received: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(PATIENCE)

    def serve() -> None:
        connected, _ = listening.accept()
        with connected, connected.makefile("rb") as lines:
            connected.sendall(greeting)
            for line in lines:
                received.append(line.rstrip(b"\r\n"))
                verb = line.split()[0].upper() if line.split() else b""
                reply = replies.get(verb, b"250 ok\r\n")
                if reply == b"":
                    return
                connected.sendall(reply.replace(b"nothing", b""))
                if verb == b"QUIT":
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield url("smtp", listening.getsockname()), received
    finally:
        thread.join()
        listening.close()


MESSAGE = ("C DATA", "S 354 go on", "M Subject: x||body|.", "S 250 stored", "C QUIT", "S 221 bye")


def test_a_message_that_is_not_wanted_is_not_sent() -> None:
    """Its text would be taken for commands."""
    old = record("smtp", *EHLO, *MESSAGE)
    with canned({b"DATA": b"554 no\r\n", b"QUIT": b"221 bye\r\n"}) as (where, received):
        new = replay(old, where, timeout=PATIENCE)
    assert received == [b"EHLO client", b"DATA", b"QUIT"]
    assert differences(old, new) == ["DATA: 354 became 554", "message: not sent again (250)"]


def test_a_response_that_is_not_wanted_is_not_sent() -> None:
    login = ("C AUTH PLAIN", "S 334 ", f"R {MASK}", "S 235 in", "C QUIT", "S 221 bye")
    with canned({b"AUTH": b"504 no\r\n", b"QUIT": b"221 bye\r\n"}) as (where, received):
        new = replay(record("smtp", *EHLO, *login), where, timeout=PATIENCE)
    assert received == [b"EHLO client", b"AUTH PLAIN", b"QUIT"]
    assert new.commands == ["EHLO client", "AUTH PLAIN", "QUIT"]


ENDS = [
    ({b"DATA": b""}, "connection closed by the server", 2),
    ({b"DATA": b"nothing"}, "no reply after 0.2 seconds", 2),
    ({b"EHLO": b"250-goes on\r\n"}, "no reply after 0.2 seconds", 1),
    ({b"DATA": b"354 go on\r\n", **dict.fromkeys((b"SUBJECT:", b"", b"BODY"), b"nothing")},
     "connection closed", 7),
]  # fmt: skip


@pytest.mark.parametrize(("replies", "event", "lines"), ENDS)
def test_how_a_replay_ends(replies, event, lines) -> None:
    with canned(replies) as (where, received):
        new = replay(record("smtp", *EHLO, *MESSAGE), where, timeout=0.2)
    assert (new.entries[-1].text, len(received)) == (event, lines)


def test_nothing_goes_out_in_the_clear_if_tls_is_rejected() -> None:
    old = record("smtp", *EHLO, "C STARTTLS", "S 220 go on")
    old.command(b"AUTH PLAIN secret\r\n", 0, tls=True, in_login=False)
    with canned({b"STARTTLS": b"454 no\r\n"}) as (where, received):
        new = replay(old, where, timeout=PATIENCE)
    assert new.entries[-1].text == "the server has rejected TLS" and received[-1] == b"STARTTLS"


def test_what_cannot_be_repeated() -> None:
    long = record("smtp", *EHLO, "C DATA", "S 354 go on", "M " + "x" * MAX_KEPT)
    with pytest.raises(ValueError, match="lacks 2 octets of a message"):
        replay(long, "smtp://127.0.0.1:25")
    for wrong in ("pop3://127.0.0.1:110", "smtp://127.0.0.1", "http://127.0.0.1:80", "127.0.0.1:25"):
        with pytest.raises(ValueError, match="cannot be repeated at"):
            replay(record("smtp", *EHLO), wrong)
    with canned({}) as (where, _), pytest.raises(ValueError, match="login by NTLM cannot be repeated"):
        replay(record("smtp", *EHLO, f"C AUTH NTLM {MASK}"), where, timeout=PATIENCE)


# ------------------------------------------------------------ comparing

ONE = ("S 220 old", "C RCPT TO:<a@b.test>", "S 250 2.1.5 Ok, as 17")


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (("S 220 new", "C RCPT TO:<a@b.test>", "S 250 2.1.5 Ok, as 18"), []),
        (("S 220 new", "C RCPT TO:<a@b.test>", "S 250-fine|250 Ok"), []),
        (("S 554 new", "C RCPT TO:<a@b.test>", "S 250 2.1.0 Ok"),
         ["greeting: 220 became 554", "RCPT TO:<a@b.test>: 250 2.1.5 became 250 2.1.0"]),
        (("S 220 new", "C RCPT TO:<a@b.test>"), ["RCPT TO:<a@b.test>: 250 2.1.5 became nothing"]),
        (("S 220 new", "C RCPT TO:<a@b.test>", "S 250 ok|421 bye"),
         ["RCPT TO:<a@b.test>: 250 2.1.5 became 250 421"]),
        (("S what?",), ["greeting: 220 became no reply of the protocol",
                        "RCPT TO:<a@b.test>: not sent again (250 2.1.5)"]),
        (("S 220 new", "C NOOP", "S 250 ok", *ONE[1:]), ["NOOP: new (250)"]),
    ],
)  # fmt: skip
def test_differences(new, found) -> None:
    assert differences(record("smtp", *ONE), record("smtp", *new)) == found


def test_differences_of_pop3() -> None:
    old = record("pop3", "S +OK", "C PASS x", "S -ERR [IN-USE] busy", "C STAT", "S +OK 2 300")
    new = record("pop3", "S +OK", "C PASS x", "S -ERR [AUTH] wrong", "C STAT", "S +OK 3 300")
    assert differences(old, new) == [f"PASS {MASK}: -ERR [IN-USE] became -ERR [AUTH]"]


@pytest.mark.parametrize(
    ("protocol", "commands", "replies", "counts"),
    [
        ("smtp", "", "220-a|220 b|250-c|250|x|", [0, 1, 1, 2, 3]),
        ("pop3", "CAPA|LIST|LIST 1|RETR 1|QUIT", "+OK|+OK|.|-ERR|+OK 1 2|+OK|+OK|..|.|+OK",
         [1, 1, 2, 3, 4, 4, 4, 4, 5, 6]),
        ("pop3", "AUTH|AUTH PLAIN|QUIT", "+OK|+OK|PLAIN|.|+ |+OK|+OK", [1, 1, 1, 2, 3, 4, 5]),
    ],
)  # fmt: skip
def test_where_replies_end(protocol, commands, replies, counts) -> None:
    counter = ReplyCounter(protocol)
    for command in commands.split("|"):
        counter.command(command.encode())
    found = []
    for line in replies.encode().rstrip(b"|").split(b"|"):
        counter.line(line + b"\r")
        found.append(counter.count)
    assert found == counts
