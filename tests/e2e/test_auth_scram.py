"""SCRAM against scramp, an implementation in Python that shares nothing with ours, over SMTP and POP3."""

import ssl
from base64 import b64decode, b64encode

import pytest
from scramp import ScramClient

from tests.support.e2e.dialogue import Dialogue
from tests.support.e2e.secured import Account

PORTS = [("submission", "starttls"), ("pop3", "implicit")]
PROMPT = {"submission": b"334 ", "pop3": b"+ "}
WELCOME = {"submission": b"235 2.7.0", "pop3": b"+OK"}
REFUSED = {"submission": b"535 5.7.8", "pop3": b"-ERR [AUTH]"}


def log_in(session: Dialogue, protocol: str, client: ScramClient) -> bytes:
    """The server's last word; its signature is checked on the way."""
    prompt = PROMPT[protocol]
    if protocol == "submission":
        session.expect(b"EHLO client.example", b"250")
    first = b64encode(client.get_client_first().encode())
    challenge = session.expect(b"AUTH %s %s" % (client.mechanism_name.encode(), first), prompt)
    client.set_server_first(b64decode(challenge.removeprefix(prompt)).decode())
    reply = session.ask(b64encode(client.get_client_final().encode()))
    if not reply.startswith(prompt):
        return reply
    client.set_server_final(b64decode(reply.removeprefix(prompt)).decode())
    return session.ask(b"")


def tls_12(account: Account) -> ssl.SSLContext:
    context = account.context
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port[0])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
@pytest.mark.parametrize("binding", ["tls-server-end-point", "tls-unique"])
def test_channel_binding(account: Account, port: tuple[str, str], mechanism: str, binding: str) -> None:
    """tls-exporter, which scramp does not know, is left to GNU SASL."""
    protocol = port[0]
    context = tls_12(account) if binding == "tls-unique" else account.context
    with account.connect(*port, context=context) as session, account.connect(*port, context=context) as other:
        assert isinstance(session.socket, ssl.SSLSocket)
        if binding == "tls-unique":
            # as somebody in the middle would have it, with a connection on either side
            stolen = binding, other.socket
            client = ScramClient([mechanism], account.address, account.password, channel_binding=stolen)
            assert log_in(session, protocol, client).startswith(REFUSED[protocol])
        own = binding, session.socket
        client = ScramClient([mechanism], account.address, account.password, channel_binding=own)
        assert log_in(session, protocol, client).startswith(WELCOME[protocol])
