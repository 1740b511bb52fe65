"""Postfix, Exim and OpenSMTPD: we send with all that they offer, they send to us, and mail goes round."""

import re
import smtplib
from collections.abc import Callable
from email import message_from_bytes, policy
from typing import Any

import attrs
import pytest

from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration, wait_until
from tests.support.real_servers.exim import Exim
from tests.support.real_servers.opensmtpd import OpenSMTPD
from tests.support.real_servers.postfix import Postfix
from tests.support.real_servers.process import FAR_DOMAIN, RING_DOMAIN, RealServer
from tests.support.tls_material import Issued, make_ca

pytestmark = pytest.mark.slow

SENDER = "alice@example.org"
# All that a server might add is there already.
HEAD = (
    b"From: alice@example.org\r\nTo: box@far.example\r\nMessage-ID: <1@example.org>\r\n"
    b"Date: Mon, 30 Nov 2026 12:00:00 +0000\r\nSubject: %s\r\n"
)
LINE = b"0123456789" * 7 + b"\r\n"
MESSAGES = {
    "plain": HEAD % b"plain" + b"\r\nHello\r\n",
    "dots": HEAD % b"dots" + b"\r\n.\r\n..\r\n.x\r\n" + b".\r\n" * 20_000,
    "8-bit": HEAD % b"8-bit"
    + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    + "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n".encode(),
    "large": HEAD % b"large" + b"\r\n" + LINE * 70_000,
}
# How each says in its Received field that the message came with TLS. OpenSMTPD 6.8.0p2 of Debian 12 fails in
# the handshake with every client, openssl s_client too: it gets the messages in the clear (RFC 7435).
WITH_TLS = {Postfix: rb"\(using TLSv1\.[23] with cipher", Exim: rb"with e?smtps"}
KINDS = [*WITH_TLS, OpenSMTPD]

MakeReal = Callable[..., Any]


@attrs.frozen
class Pair:
    """Our server, and another one that gets what we send to far.example and ring.example."""

    ours: Server
    other: RealServer

    def deliver(self, *messages: bytes, to: str = f"box@{FAR_DOMAIN}", **options: Any) -> None:
        with smtplib.SMTP(*self.ours.smtp) as client:
            for message in messages:
                client.sendmail(SENDER, [to], message, **options)


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    folder = tmp_path_factory.mktemp("certificates")
    return make_ca(folder).issue("mx.far.example", "localhost", "127.0.0.1")


@pytest.fixture
def make_pair(make_server: Makes, make_real: MakeReal, certificate: Issued) -> Callable[..., Pair]:
    def make(kind: type[RealServer], tables: str = "", **options: Any) -> Pair:
        other = make_real(kind, certificate=certificate, **options)
        routes = ", ".join(f'"{domain}" = "127.0.0.1:{other.port}"' for domain in (FAR_DOMAIN, RING_DOMAIN))
        text = f"[relay]\nroutes = {{ {routes} }}\n{tables}"
        ours = make_server(configuration(tables=text)).start()
        other.start(ours.smtp[1])
        return Pair(ours, other)

    return make


def content_of(stored: bytes) -> bytes:
    """What was sent, without the trace fields that were added in front of it."""
    at = stored.find(b"From: alice")
    return stored[at:].replace(b"\n", b"\r\n")


@pytest.mark.parametrize("kind", KINDS)
def test_we_send(make_pair: Callable[..., Pair], kind: type[RealServer]) -> None:
    """Octet for octet, with TLS where it works, with reports."""
    pair = make_pair(kind)
    pair.deliver(*MESSAGES.values())
    found = pair.other.wait_for(len(MESSAGES), 60)
    assert sorted(map(content_of, found)) == sorted(MESSAGES.values())
    for stored in found:
        assert re.search(WITH_TLS.get(kind, rb""), stored), stored[:2000]
    # A report of success comes from the other server, which has taken over the request for it.
    pair.deliver(
        MESSAGES["plain"], to=f"dsn@{FAR_DOMAIN}", rcpt_options=["NOTIFY=SUCCESS"], mail_options=["ENVID=abc"]
    )
    alice = Mailbox(pair.ours, "alice")
    [report] = wait_until(alice.messages, "the report")
    assert b"Action: delivered" in report and b"mx.far.example" in report
    assert kind is not Postfix or b"Original-Envelope-Id: abc" in report
    pair.ours.check_log()


@pytest.mark.parametrize("kind", KINDS)
def test_they_send(make_pair: Callable[..., Pair], kind: type[RealServer]) -> None:
    pair = make_pair(kind)
    sent = list(MESSAGES.values())
    with smtplib.SMTP("127.0.0.1", pair.other.port) as client:
        for message in sent:
            client.sendmail(f"far@{FAR_DOMAIN}", ["bob@example.org"], message)
    bob = Mailbox(pair.ours, "bob")
    wait_until(lambda: len(bob.uids()) == len(sent), "the messages", 60)
    assert sorted(message[message.index(b"From: alice") :] for message in bob.messages()) == sorted(sent)
    if kind is Exim:
        assert len(re.findall(r"(?m)=> bob@example\.org .* K ", pair.other.log)) == len(sent), "BDAT was used"


def test_addresses_outside_ascii_both_ways(make_pair: Callable[..., Pair]) -> None:
    """Postfix passes SMTPUTF8 and the request for a report on, and takes both from us."""
    zoe = "zo\N{LATIN SMALL LETTER E WITH DIAERESIS}"
    account = f'[[account]]\naddress = "{zoe}@example.org"\npassword = "{PASSWORD}"\n'
    pair = make_pair(Postfix, account, settings={"smtputf8_enable": "yes"})
    sent = MESSAGES["plain"].replace(b"Subject: ", f"Subject: {zoe} ".encode())
    mail = ["SMTPUTF8", "BODY=8BITMIME"]
    with smtplib.SMTP("127.0.0.1", pair.other.port) as client:
        wants = ["NOTIFY=SUCCESS", f"ORCPT=utf-8;{zoe}@example.org"]
        client.sendmail(f"far@{FAR_DOMAIN}", [f"{zoe}@example.org"], sent, mail, wants)
    [stored] = wait_until(Mailbox(pair.ours, zoe).messages, "the message", 60)
    assert stored.endswith(sent) and b" with UTF8SMTP id " in stored
    [report] = pair.other.wait_for(1, 60)
    assert re.search(rb"(?m)^Original-Recipient: utf-8; zo\\x\{EB\}@example.org$", report), report
    assert re.search(rb"(?m)^Action: delivered$", report), report
    pair.deliver(sent, to=f"{zoe}@{FAR_DOMAIN}", mail_options=mail)
    assert content_of(pair.other.wait_for(2, 60)[1]) == sent
    assert re.search(r"(?i)smtputf8|UTF8SMTP", pair.other.log + str(pair.other.messages()[1]))
    pair.ours.check_log()


def test_postfix_names_the_origin(make_pair: Callable[..., Pair]) -> None:
    """With smtp_send_xforward_command, as a filter of it does."""
    tables = '[smtp]\nxforward_networks = ["127.0.0.1"]\n'
    pair = make_pair(Postfix, tables, settings={"smtp_send_xforward_command": "yes"})
    with smtplib.SMTP("127.0.0.1", pair.other.port, "spike.example") as client:
        client.sendmail(f"far@{FAR_DOMAIN}", ["bob@example.org"], MESSAGES["plain"])
    wait_until(Mailbox(pair.ours, "bob").messages, "the message", 60)
    told = (
        r"came from 127\.0\.0\.1 by way of 127\.0\.0\.1 \(name localhost, HELO spike\.example, id there \w+\)"
    )
    assert re.search(told, pair.ours.log)
    pair.ours.check_log()


@pytest.mark.parametrize("hops", [50, 1000])
def test_a_ring_ends_with_one_bounce(make_pair: Callable[..., Pair], hops: int) -> None:
    """We send it to Postfix, and Postfix to us: one of us has enough of it."""
    pair = make_pair(Postfix, settings={"hopcount_limit": hops})
    pair.deliver(MESSAGES["plain"], to=f"nobody@{RING_DOMAIN}")
    alice = Mailbox(pair.ours, "alice")
    wait_until(alice.messages, "the bounce", 60)
    [report] = alice.messages()
    parsed = message_from_bytes(report, policy=policy.SMTP)
    assert parsed.get_content_type() == "multipart/report"
    assert re.search(rb"Status: 5\.4\.[06]", report), report
    assert report.count(b"nobody@ring.example") >= 1
    pair.ours.check_log()


@pytest.mark.parametrize("kind", KINDS)
def test_the_bounce_of_forwarded_mail(make_pair: Callable[..., Pair], kind: type[RealServer]) -> None:
    """They take what we forward to ring.example, cannot relay it, for we do not let them, and bounce it to
    the rewritten reverse-path: it arrives at the sender, whose server they are as well."""
    alias = f'[[alias]]\naddress = "away@example.org"\nto = ["nobody@{RING_DOMAIN}"]\n'
    pair = make_pair(kind, f"networks = []\n{alias}")
    with smtplib.SMTP(*pair.ours.smtp) as client:
        client.sendmail(f"box@{FAR_DOMAIN}", ["away@example.org"], MESSAGES["plain"])
    [stored] = pair.other.wait_for(1, 60)
    assert re.search(rb"(?im)^From: .*(mailer-daemon|Mail Delivery)", stored), stored
    assert re.search(rb"SRS0=[^@]+=far\.example=box@example\.org", stored), stored
    assert re.search(rb"(?i)nobody@ring\.example.*relaying denied", stored, re.DOTALL), stored
    accepted = re.findall(r"accepted: <(.*)> to <(.*?)> ", pair.ours.log)
    assert [sender for sender, _ in accepted] == [f"box@{FAR_DOMAIN}", ""]
    pair.ours.check_log()


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"])
def test_a_smarthost_with_a_login(
    make_server: Makes,
    make_real: MakeReal,
    certificate: Issued,
    mechanism: str,
) -> None:
    """Postfix with Dovecot's SASL, and TLS whose certificate is checked."""
    other = make_real(
        Postfix, certificate=certificate, users={"us@far.example": "s3cret word"}, mechanisms=[mechanism]
    )
    server = make_server(configuration())
    secret = server.directory / "secret"
    secret.write_text("s3cret word\n")
    secret.chmod(0o600)
    server.configure(
        configuration(
            tables=f"""
[relay]
smarthost = "localhost:{other.port}"
smarthost_user = "us@far.example"
smarthost_password_file = "{secret}"
tls = "required"
"""
        )
    )
    server.start()
    other.start(server.smtp[1])
    Pair(server, other).deliver(MESSAGES["plain"])
    [stored] = other.wait_for(1)
    assert b"Authenticated sender: us@far.example" in stored
    assert re.search(WITH_TLS[Postfix], stored)
    assert "s3cret" not in server.log
