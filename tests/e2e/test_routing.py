"""Aliases, lists, catch-all and people who moved, seen by smtplib and in the mailboxes."""

import smtplib

from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import Makes, configuration

TABLES = """
catch_all = { "example.org" = "carol" }

[[alias]]
address = "sold"
to = ["bob"]
announce = true

[[alias]]
address = "both"
to = ["alice", "club", "sold"]

[[list]]
address = "club"
members = ["alice", "bob"]
owner = "carol"

[[moved]]
address = "dora"
to = "dora@elsewhere.example"

[smtp]
verify = "always"
"""


def test_every_way_a_name_can_lead(make_server: Makes) -> None:
    top, _, tables = TABLES.partition("\n\n")
    server = make_server(configuration(top=f"allow_root = true\n{top}", tables=tables)).start()
    with smtplib.SMTP(*server.smtp) as smtp:
        assert smtp.ehlo()[0] == 250
        assert smtp.has_extn("expn")
        assert smtp.vrfy("sold")[0] == 251
        assert smtp.vrfy("dora")[0] == 551
        assert smtp.vrfy("whoever")[0] == 252
        assert smtp.expn("club") == (250, b"2.1.5 <alice@example.org>\n2.1.5 <bob@example.org>")
        assert smtp.expn("alice")[0] == 550
        assert smtp.docmd("TURN")[0] == 502
        assert smtp.mail(SENDER)[0] == 250
        code, text = smtp.rcpt("sold@example.org")
        assert (code, b"<bob@example.org>" in text) == (251, True)
        code, text = smtp.rcpt("dora@example.org")
        assert (code, b"<dora@elsewhere.example>" in text) == (551, True)
        assert smtp.rcpt("both@example.org")[0] == 250
        assert smtp.rcpt("club@example.org")[0] == 250
        assert smtp.rcpt("whoever@example.org")[0] == 250
        assert smtp.data(b"Subject: to all\r\n\r\nhello\r\n")[0] == 250
        # what comes back to the list
        assert smtp.sendmail("<>", "club-bounces@example.org", b"Subject: bounce\r\n\r\n") == {}
    [one] = Mailbox(server, "alice").messages()
    assert one.startswith(b"Return-Path: <%s>\r\nDelivered-To: both@example.org\r\n" % SENDER.encode())
    [one] = Mailbox(server, "bob").messages()
    assert one.startswith(b"Return-Path: <%s>\r\nDelivered-To: sold@example.org\r\n" % SENDER.encode())
    caught, bounce = Mailbox(server, "carol").messages()
    assert b"Delivered-To: whoever@example.org\r\n" in caught
    assert bounce.startswith(b"Return-Path: <>\r\nDelivered-To: club-bounces@example.org\r\n")


def test_a_list_takes_the_place_of_the_sender(make_server: Makes) -> None:
    _, _, tables = TABLES.partition("\n\n")
    server = make_server(configuration(tables=tables)).start()
    with smtplib.SMTP(*server.smtp) as smtp:
        assert smtp.sendmail(SENDER, "club@example.org", b"Subject: news\r\n\r\n") == {}
        assert smtp.sendmail("<>", "club@example.org", b"Subject: a bounce\r\n\r\n") == {}
    for name in ("alice", "bob"):
        news, bounce = Mailbox(server, name).messages()
        assert news.startswith(b"Return-Path: <club-bounces@example.org>\r\n")
        assert bounce.startswith(b"Return-Path: <>\r\n")
