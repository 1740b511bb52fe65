"""Ways to make the server send mail for strangers, or to strangers: relay tricks, bounces, loops."""

import itertools
import time
from collections import Counter

from mailserver.app.forwarding import read_keys
from mailserver.mail.address import Address
from mailserver.mail.srs import SRS
from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.limited import SmtpFrom
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, configuration, wait_until
from tests.support.far_sides.beside import far_sides

# Each ends somewhere else if a server reads more into it than RFC 5321 does.
TRICKS = [
    b"<u@ext.example>",
    b"u@ext.example",
    b"<u%ext.example@example.org>",
    b"<u%ext.example@other.example>",
    b"<u%ext.example%other.example@example.org>",
    b"<ext.example!u>",
    b"<ext.example!u@example.org>",
    b"<example.org!ext.example!u>",
    b"<@example.org:u@ext.example>",
    b"<@example.org,@other.example:u@ext.example>",
    b"<@ext.example:u%ext.example@example.org>",
    b'<"u@ext.example"@example.org>',
    b'<"u@ext.example">',
    b'<"u%ext.example"@example.org>',
    b"<u@ext.example@example.org>",
    b"<u@example.org@ext.example>",
    b"<u@ext.example:alice@example.org>",
    b"<u@[192.0.2.1]>",
    b"<alice@[127.0.0.1]>",
    b"<alice@[IPv6:::1]>",
    b"<alice@127.0.0.1>",
    b"<alice@localhost>",
    b"<u@ext.example.>",
    b"<u@ext.example (alice@example.org)>",
    b"<(<alice@example.org>) u@ext.example>",
    b"<alice(@example.org)@ext.example>",
    b"<alice@example.org (>) @ext.example>",
    b"<alice@example.org.ext.example>",
    b"<alice@sub.example.org>",
    b"<alice@example.org\\@ext.example>",
    b"<u@ext.example >,<alice@example.org>",
    b"<u@ext.example,alice@example.org>",
    b"<postmaster@ext.example>",
    b"<away@example.org>",
    b"<|u@ext.example>",
    b"<:include:/etc/passwd@example.org>",
    b"<nobody@example.org>",
]


# The MAIL and RCPT of nmap's script smtp-open-relay, in its order: %(ip)s is the server's, %(name)s what it
# calls itself.
NMAP = [
    (b"", b"relaytest@nmap.scanme.org"),
    (b"antispam@nmap.scanme.org", b"relaytest@nmap.scanme.org"),
    (b"antispam@%(name)s", b"relaytest@nmap.scanme.org"),
    (b"antispam@[%(ip)s]", b"relaytest@nmap.scanme.org"),
    (b"antispam@[%(ip)s]", b"relaytest%%nmap.scanme.org@[%(ip)s]"),
    (b"antispam@[%(ip)s]", b"relaytest%%nmap.scanme.org@%(name)s"),
    (b"antispam@[%(ip)s]", b'"relaytest@nmap.scanme.org"'),
    (b"antispam@[%(ip)s]", b'"relaytest%%nmap.scanme.org"'),
    (b"antispam@[%(ip)s]", b"relaytest@nmap.scanme.org@[%(ip)s]"),
    (b"antispam@[%(ip)s]", b'"relaytest@nmap.scanme.org"@[%(ip)s]'),
    (b"antispam@[%(ip)s]", b"relaytest@nmap.scanme.org@%(name)s"),
    (b"antispam@[%(ip)s]", b"@[%(ip)s]:relaytest@nmap.scanme.org"),
    (b"antispam@[%(ip)s]", b"@%(name)s:relaytest@nmap.scanme.org"),
    (b"antispam@[%(ip)s]", b"nmap.scanme.org!relaytest"),
    (b"antispam@[%(ip)s]", b"nmap.scanme.org!relaytest@[%(ip)s]"),
    (b"antispam@[%(ip)s]", b"nmap.scanme.org!relaytest@%(name)s"),
]
STRANGER = "127.0.0.5"
RELAY = """
[relay]
networks = ["127.0.0.1"]
smarthost = "127.0.0.1:{port}"
"""
WORDS = {b"ip": b"127.0.0.1", b"name": b"mail.example.org"}
RECIPIENTS = [b"<" + recipient % WORDS + b">" for _, recipient in NMAP] + TRICKS


def test_a_stranger_relays_by_none_of_them_on_any_port(make_server: Makes) -> None:
    """From outside relay.networks: refused on the port for servers, and before anything else on that for
    people who have not logged in. By LMTP nobody relays without a login, wherever the client is."""
    listen = [(protocol, "tcp:0:interface=127.0.0.1") for protocol in ("smtp", "submission", "lmtp")]
    with far_sides() as sides:
        far, port = sides.listen()
        server = make_server(configuration(listen=listen, tables=RELAY.format(port=port))).start()
        lmtp = server.address("lmtp")
        clients = [(server.smtp, b"EHLO", STRANGER), (lmtp, b"LHLO", STRANGER), (lmtp, b"LHLO", "127.0.0.1")]
        for (address, hello, host), start in itertools.product(clients, range(0, len(RECIPIENTS), 9)):
            with SmtpFrom(address, host) as session:
                session.expect(hello + b" client.example", b"250")
                session.expect(b"MAIL FROM:<a@b.example>", b"250")
                for recipient in RECIPIENTS[start : start + 9]:
                    session.expect(b"RCPT TO:" + recipient, b"5")
                session.expect(b"DATA", b"503 ")
        with SmtpFrom(server.address("submission"), STRANGER) as session:
            session.expect(b"EHLO client.example", b"250")
            for sender, recipient in NMAP:
                session.expect(b"MAIL FROM:<" + sender % WORDS + b">", b"530 5.7.0 ")
                session.expect(b"RCPT TO:<" + recipient % WORDS + b">", b"530 5.7.0 ")
                session.expect(b"DATA", b"530 5.7.0 ")
                session.expect(b"RSET", b"250 ")
        assert not [path for path in server.data.rglob("new/*") if path.is_file()]
        assert mailserver(server, "queue", "list")[1][-1:] == ["0 messages, 0 recipients waiting"]
        assert far.sessions == []


# Of all these, what a client that may relay can send, and the recipient that gets it: the domain behind the
# last @ decides, whatever the local part looks like, and a source route is ignored (RFC 5321 appendix C).
SENT = {
    b"<relaytest@nmap.scanme.org>": "relaytest@nmap.scanme.org",
    b"<@[127.0.0.1]:relaytest@nmap.scanme.org>": "relaytest@nmap.scanme.org",
    b"<@mail.example.org:relaytest@nmap.scanme.org>": "relaytest@nmap.scanme.org",
    b"<u@ext.example>": "u@ext.example",
    b"<u%ext.example@other.example>": "u%ext.example@other.example",
    b"<@example.org:u@ext.example>": "u@ext.example",
    b"<@example.org,@other.example:u@ext.example>": "u@ext.example",
    b"<u@[192.0.2.1]>": "u@[192.0.2.1]",
    b"<alice@example.org.ext.example>": "alice@example.org.ext.example",
    b"<alice@sub.example.org>": "alice@sub.example.org",
    b"<postmaster@ext.example>": "postmaster@ext.example",
    b"<alice@localhost>": "alice@localhost",
    b"<|u@ext.example>": "|u@ext.example",
    b"u@ext.example": "u@ext.example",
    b"<u@ext.example.>": "u@ext.example",
    # Comments are not part of an address, wherever they stand.
    b"<u@ext.example (alice@example.org)>": "u@ext.example",
    b"<(<alice@example.org>) u@ext.example>": "u@ext.example",
    b"<alice(@example.org)@ext.example>": "alice@ext.example",
    # The names and addresses of this host are none of its domains: the smarthost decides.
    b"<relaytest%nmap.scanme.org@[127.0.0.1]>": "relaytest%nmap.scanme.org@[127.0.0.1]",
    b"<relaytest%nmap.scanme.org@mail.example.org>": "relaytest%nmap.scanme.org@mail.example.org",
    b'<"relaytest@nmap.scanme.org"@[127.0.0.1]>': '"relaytest@nmap.scanme.org"@[127.0.0.1]',
    b"<nmap.scanme.org!relaytest@[127.0.0.1]>": "nmap.scanme.org!relaytest@[127.0.0.1]",
    b"<nmap.scanme.org!relaytest@mail.example.org>": "nmap.scanme.org!relaytest@mail.example.org",
    b"<alice@[127.0.0.1]>": "alice@[127.0.0.1]",
    b"<alice@[IPv6:::1]>": "alice@[IPv6:::1]",
    b"<alice@127.0.0.1>": "alice@127.0.0.1",
}


def test_one_that_may_relay_sends_each_once_to_the_right_place(make_server: Makes) -> None:
    with far_sides() as sides:
        far, port = sides.listen()
        server = make_server(configuration(tables=RELAY.format(port=port))).start()
        expected, wrong = Counter[str](), []
        for recipient in RECIPIENTS:
            with Smtp(server.smtp) as session:
                session.expect(b"EHLO client.example", b"250")
                session.expect(b"MAIL FROM:<a@b.example>", b"250")
                reply = session.ask(b"RCPT TO:" + recipient)
                if reply.startswith(b"250 ") != (recipient in SENT):
                    wrong.append(f"{recipient!r}: {reply!r}")
                elif recipient in SENT:
                    expected[SENT[recipient]] += 1
                    session.expect(b"DATA", b"354")
                    session.expect(b"Subject: x\r\n\r\n.", b"250")
        assert not wrong, "\n".join(wrong)
        wait_until(lambda: len(far.kept) >= expected.total(), "all messages")
        assert Counter(to for one in far.kept for to in one.accepted) == expected
        assert not [path for path in server.data.rglob("new/*") if path.is_file()]


def test_return_addresses_are_no_open_relay(make_server: Makes) -> None:
    """Only what this server has made, as long as it is valid, and only with the null reverse-path."""
    with far_sides() as sides:
        far, port = sides.listen()
        smarthost = f'[relay]\nnetworks = []\nsmarthost = "127.0.0.1:{port}"\n'
        server = make_server(configuration(tables=smarthost)).start()
        keys = read_keys(server.data / "srs.keys")
        sender, now = Address("erin", "elsewhere.example"), time.time()

        def made(key: bytes, when: float = now, domain: str = "example.org") -> str:
            return str(SRS(domain, (key,)).rewritten(sender, when))

        real = made(keys[0])
        _, digest, rest = real.split("=", 2)
        refused = [
            made(b"guessed"),
            made(keys[0], now - 30 * 86400.0),  # expired
            made(keys[0], now + 30 * 86400.0),
            real.replace("erin", "victim"),
            real.replace("elsewhere", "victim"),
            f"SRS0=={rest}",
            f"SRS0={digest[:3]}={rest}",
            f"SRS0={digest}{digest}={rest}",
            f"SRS0={rest}",
            f"SRS1={digest}={rest}",
            f"SRS1={digest}=victim.example=={digest}={rest}",
            "SRS0=erin@example.org",
            "SRS1@example.org",
            f"{real[:-12]}%victim.example@example.org",
            made(keys[0], domain="sub.example.org"),  # a domain of others
            f"x+{real}",
        ]
        with SmtpFrom(server.smtp, STRANGER) as session:
            session.expect(b"EHLO client.example", b"250")
            for number, one in enumerate(refused):
                if number % 8 == 0:
                    session.ask(b"RSET")
                    session.expect(b"MAIL FROM:<>", b"250")
                session.expect(b"RCPT TO:<%s>" % one.encode(), b"550 5.")
        with SmtpFrom(server.smtp, STRANGER) as session:
            session.expect(b"EHLO client.example", b"250")
            for path in (b"x@ext.example", b"erin@elsewhere.example", real.encode()):
                session.expect(b"MAIL FROM:<%s>" % path, b"250")
                session.expect(b"RCPT TO:<%s>" % real.encode(), b"550 5.7.1 this return address takes only ")
                session.expect(b"RSET", b"250")
            session.expect(b"MAIL FROM:<>", b"250")
            session.expect(b"RCPT TO:<%s>" % real.upper().encode(), b"250")
            session.expect(b"RCPT TO:<u@ext.example>", b"550 5.7.1 ")
            session.expect(b"DATA", b"354")
            session.expect(b"Subject: x\r\n\r\n.", b"250")
        [bounce] = wait_until(lambda: far.kept, "the bounce")
        assert (bounce.sender, bounce.accepted) == ("", ["ERIN@elsewhere.example"])
        assert [one for one in keys if one.decode() in server.log] == []


def test_strangers_are_refused_by_a_whole_server_and_no_bounce_follows(make_server: Makes) -> None:
    """An unknown recipient, too, is refused in the session: no later bounce to a forged sender."""
    server = make_server(configuration(tables="[relay]\nnetworks = []\n")).start()
    for start in range(0, len(TRICKS), 9):
        with Smtp(server.smtp) as session:
            session.expect(b"EHLO client.example", b"250")
            # the victim of the bounce, if there were one
            session.expect(b"MAIL FROM:<bob@example.org>", b"250")
            for trick in TRICKS[start : start + 9]:
                session.expect(b"RCPT TO:" + trick, b"55" if trick.startswith(b"<nobody") else b"5")
            session.expect(b"DATA", b"503 ")
            session.expect(b"RCPT TO:<alice@example.org>", b"250")
            session.expect(b"DATA", b"354")
            session.expect(b"Subject: x\r\n\r\n.", b"250")
    assert len(Mailbox(server, "alice").messages()) == -(-len(TRICKS) // 9)
    assert Mailbox(server, "bob").messages() == []


LOOP = """
[[alias]]
address = "a@example.org"
to = ["b@example.org", "alice@example.org"]

[[alias]]
address = "b@example.org"
to = ["a@example.org"]
"""


def test_aliases_in_a_circle_are_told_at_the_start(make_server: Makes) -> None:
    server = make_server(configuration(tables=LOOP))
    errors, _ = server.refused()
    circles = (
        "a@example.org -> b@example.org -> a@example.org",
        "b@example.org -> a@example.org -> b@example.org",
    )
    assert errors
    assert all(any(circle in line for circle in circles) for line in errors), errors


def test_a_message_that_has_gone_in_circles_is_refused(make_server: Makes) -> None:
    """100 Received fields (RFC 5321 section 6.3): 554 at its end, and nothing is sent back."""
    server = make_server().start()
    hop = b"Received: from a.example by b.example; Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    with Smtp(server.smtp) as session:
        for count, code in ((99, b"250 "), (100, b"554 5.4.6 "), (5000, b"554 5.4.6 ")):
            session.begin("bob@example.org", "alice@example.org")
            session.send(hop * count + b"Subject: x\r\n\r\nReceived: y\r\n.\r\n")
            assert session.reply().startswith(code)
    assert len(Mailbox(server, "alice").messages()) == 1
    assert Mailbox(server, "bob").messages() == []
