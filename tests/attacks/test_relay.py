"""Ways to make the server send mail for strangers, or to strangers: relay tricks, bounces, loops."""

from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, configuration

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
OUTSIDE = """
[relay]
networks = ["192.0.2.0/24"]
"""


def test_a_whole_server_relays_none_of_them_on_any_port(make_server: Makes) -> None:
    """From outside relay.networks: refused on the port for servers, and before anything else on that for
    people who have not logged in."""
    listen = [(protocol, "tcp:0:interface=127.0.0.1") for protocol in ("smtp", "submission")]
    server = make_server(configuration(listen=listen, tables=OUTSIDE)).start()
    words = {b"ip": b"127.0.0.1", b"name": b"mail.example.org"}
    recipients = [b"<" + recipient % words + b">" for _, recipient in NMAP] + TRICKS
    for start in range(0, len(recipients), 9):
        with Smtp(server.smtp) as session:
            session.expect(b"EHLO client.example", b"250")
            session.expect(b"MAIL FROM:<a@b.example>", b"250")
            for recipient in recipients[start : start + 9]:
                session.expect(b"RCPT TO:" + recipient, b"5")
            session.expect(b"DATA", b"503 ")
    with Smtp(server.address("submission")) as session:
        session.expect(b"EHLO client.example", b"250")
        for sender, recipient in NMAP:
            session.expect(b"MAIL FROM:<" + sender % words + b">", b"530 5.7.0 ")
            session.expect(b"RCPT TO:<" + recipient % words + b">", b"530 5.7.0 ")
            session.expect(b"DATA", b"530 5.7.0 ")
            session.expect(b"RSET", b"250 ")
    assert not [path for path in server.data.rglob("new/*") if path.is_file()]
    assert mailserver(server, "queue", "list") == (0, ["0 messages, 0 recipients waiting"], [])


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
