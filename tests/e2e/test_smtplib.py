"""Python's smtplib as the sender."""

import smtplib
from collections.abc import Callable, Iterator

import pytest

from tests.support.corpus.messages import MESSAGES, UNENDED, message, original
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import Makes, configuration

MailboxMaker = Callable[[], Mailbox]


@pytest.fixture
def client(mailbox: Mailbox) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(*mailbox.server.smtp) as client:
        yield client


@pytest.mark.parametrize("name", MESSAGES)
def test_octets(mailbox: Mailbox, client: smtplib.SMTP, name: str) -> None:
    client.sendmail(SENDER, [mailbox.address], MESSAGES[name])
    assert [original(stored) for stored in mailbox.messages()] == [MESSAGES[name]]


def test_several_messages_in_one_session(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    sent = [*MESSAGES.values(), message("no-head", b"")[-2:] + b"a body without a head\r\n"]
    for octets in sent:
        client.sendmail(SENDER, [mailbox.address], octets)
    assert [original(stored) for stored in mailbox.messages()] == sent


def test_last_line_without_an_end_gets_one(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.sendmail(SENDER, [mailbox.address], UNENDED)
    assert [original(stored) for stored in mailbox.messages()] == [UNENDED + b"\r\n"]


def test_trace_fields(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.local_hostname = "client.example"
    client.sendmail(SENDER, [mailbox.address], MESSAGES["plain"])
    [stored] = mailbox.messages()
    head = stored[: -len(MESSAGES["plain"])].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
    fields = dict(line.split(b": ", 1) for line in head.splitlines())
    assert fields[b"Return-Path"] == b"<" + SENDER.encode() + b">"
    assert fields[b"Delivered-To"] == mailbox.address.encode()
    received = fields[b"Received"]
    for part in (b"from client.example ", b"127.0.0.1", b" by mail.example.org ", b" with ESMTP ", b" id "):
        assert part in received, part


def test_the_id_in_the_reply_is_the_id_in_received(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.ehlo()
    client.mail(SENDER)
    client.rcpt(mailbox.address)
    code, text = client.data(MESSAGES["plain"])
    assert code == 250
    assert text.startswith(b"2.0.0 Ok: queued as ")
    [stored] = mailbox.messages()
    assert b" id " + text.removeprefix(b"2.0.0 Ok: queued as ") in stored.replace(b"\r\n\t", b" ")


def test_one_unknown_recipient_among_good_ones(make_mailbox: MailboxMaker) -> None:
    first, second = make_mailbox(), make_mailbox()
    with smtplib.SMTP(*first.server.smtp) as client:
        refused = client.sendmail(
            SENDER, [first.address, "nobody@example.org", second.address], MESSAGES["plain"]
        )
    assert list(refused) == ["nobody@example.org"]
    code, text = refused["nobody@example.org"]
    assert (code, text[:5]) == (550, b"5.1.1")
    for box in (first, second):
        assert [original(stored) for stored in box.messages()] == [MESSAGES["plain"]]


def test_only_unknown_recipients(client: smtplib.SMTP) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail(SENDER, ["nobody@example.org"], MESSAGES["plain"])
    assert client.noop()[0] == 250


def test_null_reverse_path(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.sendmail("", [mailbox.address], MESSAGES["plain"])
    [stored] = mailbox.messages()
    assert b"Return-Path: <>\r\n" in stored


def test_ehlo_lists_extensions(client: smtplib.SMTP) -> None:
    assert client.ehlo("client.example")[0] == 250
    for name in ("size", "8bitmime", "pipelining", "enhancedstatuscodes"):
        assert client.has_extn(name), name
    assert client.esmtp_features["size"] == "52428800"


def test_body_8bitmime(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.sendmail(SENDER, [mailbox.address], MESSAGES["eight-bit"], mail_options=["BODY=8BITMIME"])
    assert [original(stored) for stored in mailbox.messages()] == [MESSAGES["eight-bit"]]


def test_helo_only(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    assert client.helo("client.example")[0] == 250
    client.sendmail(SENDER, [mailbox.address], MESSAGES["plain"])
    [stored] = mailbox.messages()
    assert original(stored) == MESSAGES["plain"]
    assert b" with SMTP " in stored.replace(b"\r\n\t", b" ")


def test_help_and_noop(client: smtplib.SMTP) -> None:
    assert client.docmd("HELP")[0] == 214
    assert b"MAIL" in client.help()
    assert client.noop()[0] == 250


def test_verify_does_not_tell_strangers(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.ehlo()
    assert client.verify(mailbox.address)[0] == 252
    assert client.verify("nobody@example.org")[0] == 252


def test_reset_forgets_the_transaction(make_mailbox: MailboxMaker) -> None:
    first, second = make_mailbox(), make_mailbox()
    with smtplib.SMTP(*first.server.smtp) as client:
        client.ehlo()
        client.mail(SENDER)
        client.rcpt(first.address)
        assert client.rset()[0] == 250
        client.sendmail(SENDER, [second.address], MESSAGES["plain"])
    assert first.messages() == []
    assert len(second.messages()) == 1


def test_session_cut_in_the_message_delivers_nothing(mailbox: Mailbox) -> None:
    with smtplib.SMTP(*mailbox.server.smtp) as client:
        client.ehlo()
        client.mail(SENDER)
        client.rcpt(mailbox.address)
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGES["plain"])
        client.close()
    assert mailbox.messages() == []


def test_names_that_lead_somewhere_else(make_server: Makes) -> None:
    server = make_server().start()
    alice, bob = Mailbox(server, "alice"), Mailbox(server, "bob")
    with smtplib.SMTP(*server.smtp) as client:
        for name in ("sales@example.org", "alice+shop@example.org", "alice", "ALICE@Example.ORG"):
            client.sendmail(SENDER, [name], message(name, b"to alice\r\n"))
        client.sendmail(SENDER, ["club@example.org"], message("club", b"to both\r\n"))
        client.sendmail(SENDER, ["alice", "club@example.org", "sales@example.org"], message("once", b"\r\n"))
    assert [b"to alice\r\n" in stored for stored in alice.messages()] == [True] * 4 + [False] * 2
    assert [original(stored) for stored in bob.messages()] == [
        message("club", b"to both\r\n"),
        message("once", b"\r\n"),
    ]


def test_what_the_configuration_changes(make_server: Makes) -> None:
    tables = '[smtp]\nmax_message_size = 70000\nverify = "always"\n[relay]\nnetworks = []\n'
    server = make_server(configuration(tables=tables)).start()
    alice = Mailbox(server, "alice")
    with smtplib.SMTP(*server.smtp) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "70000"
        too_long = message("too-long", b"0123456789abcd\r\n" * 5000)

        # announced: refused before the message is sent (RFC 1870 section 6.1)
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.sendmail(SENDER, [alice.address], too_long)
        assert refused.value.smtp_code == 552

        # not announced: read to its end, and then refused
        assert client.mail(SENDER)[0] == 250
        assert client.rcpt(alice.address)[0] == 250
        assert client.data(too_long)[0] == 552
        assert client.rcpt(alice.address)[0] == 503

        assert client.verify("alice") == (250, client.verify("alice")[1])
        assert b"<alice@example.org>" in client.verify("alice")[1]
        assert client.verify("jessica")[0] == 550

        with pytest.raises(smtplib.SMTPRecipientsRefused) as elsewhere:
            client.sendmail(SENDER, ["carol@elsewhere.example"], MESSAGES["plain"])
        code, text = elsewhere.value.recipients["carol@elsewhere.example"]
        assert (code, text[:5]) == (550, b"5.7.1")

        client.sendmail(SENDER, [alice.address], MESSAGES["plain"])
    assert [original(stored) for stored in alice.messages()] == [MESSAGES["plain"]]
