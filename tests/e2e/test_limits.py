"""What one client may have of a whole server: connections, rates, patience. All of it by reloads."""

import re
from collections.abc import Iterator

import pytest

from tests.support.e2e.dialogue import Dialogue, Smtp
from tests.support.e2e.limited import LimitedServer, Pop3From, SmtpFrom, credentials
from tests.support.e2e.server import Server, wait_until


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    yield from LimitedServer(tmp_path_factory.mktemp("limited")).serve()


# ------------------------------------------------------------ connections


def is_served(server: Server, host: str) -> bool:
    with SmtpFrom(server.smtp, host) as session:
        return session.greeting.startswith(b"220 ")


def test_connections_in_all(limited: LimitedServer) -> None:
    limited.limit("connections = 5")
    hosts = limited.hosts(7)
    sessions: list[Dialogue] = [SmtpFrom(limited.smtp, host) for host in hosts[:3]]
    sessions += [Pop3From(limited.pop3, host) for host in hosts[3:5]]
    for host, kind, port, code in (
        (hosts[5], SmtpFrom, limited.smtp, "421 4.7.0"),
        (hosts[6], Pop3From, limited.pop3, "-ERR [SYS/TEMP]"),
    ):
        with kind(port, host) as session:
            assert session.greeting == f"{code} too many connections; please try again later".encode()
            assert session.rest() == b""
    assert [event["client"] for event in limited.events("limits.connections")] == hosts[5:]
    with Smtp(limited.smtp) as exempt:
        assert exempt.greeting.startswith(b"220 ")
    for session in sessions:  # type: ignore[assignment]
        session.expect(b"QUIT", b"221 " if isinstance(session, Smtp) else b"+OK ")
        session.close()
    wait_until(lambda: is_served(limited, hosts[5]), "the places that are free again")


# ------------------------------------------------------------ rates

IN_A_MINUTE = re.compile(rb"please try again in [3-6]\d seconds$")
TOO_MANY = {
    "address": "too many {} from your address",
    "account": "too many {} from this account",
    "sender_domain": "too many {} from the sender's domain",
}


def senders(by: str, one: str, two: str) -> list[tuple[str, str, str]]:
    """Address, account and domain of two clients that are counted together, and of one that is not."""
    return {
        "address": [(one, "", "a.example"), (one, "", "b.example"), (two, "", "a.example")],
        "account": [(one, "alice", ""), (two, "alice", ""), (one, "bob", "")],
        "sender_domain": [(one, "", "a.example"), (two, "", "a.example"), (one, "", "b.example")],
    }[by]


class Sender:
    """Sends messages, or names recipients, one by one."""

    def __init__(self, server: Server, host: str, account: str, domain: str) -> None:
        self.session = SmtpFrom(server.smtp, host)
        self.session.expect(b"EHLO client.example", b"250")
        if account:
            self.session.expect(b"AUTH PLAIN " + credentials(account), b"235")
        self._mail = f"MAIL FROM:<{account or 'a'}@{domain or 'example.org'}>".encode()
        self.session.expect(self._mail, b"250")

    def one_of_the(self, what: str) -> bytes:
        if what == "recipients":
            return self.session.ask(b"RCPT TO:<alice@example.org>")
        self.session.expect(b"RSET", b"250")
        return self.session.ask(self._mail)


@pytest.mark.parametrize("by", TOO_MANY)
@pytest.mark.parametrize("what", ["messages", "recipients"])
def test_rate(limited: LimitedServer, what: str, by: str) -> None:
    limited.limit()
    clients = senders(by, *limited.hosts(2))
    first, second, other = [Sender(limited, *client) for client in clients]
    rule = f"{what}_per_{by}"
    limited.limit(f'{rule} = "3/1m"')
    for sender in (first, second, first):
        assert sender.one_of_the(what).startswith(b"250 ")
    for sender in (second, first):
        reply = sender.one_of_the(what)
        assert reply.startswith(b"451 4.7.1 " + TOO_MANY[by].format(what).encode() + b"; "), reply
        assert IN_A_MINUTE.search(reply), reply
    for _ in range(3):
        assert other.one_of_the(what).startswith(b"250 ")
    refused = limited.events(f"limits.{rule}")
    assert [event["client"] for event in refused] == [clients[1][0], clients[0][0]]
    assert reply.endswith(refused[-1]["reason"].encode())
    assert [event["account"] for event in refused] == [clients[1][1] and "alice@example.org"] * 2
    for sender in (first, second, other):
        sender.session.expect(b"QUIT", b"221")  # a refusal ends nothing
        sender.session.close()


def test_commands(limited: LimitedServer) -> None:
    limited.limit('commands_per_address = "5/1m"')
    here, there = limited.hosts(2)
    with SmtpFrom(limited.smtp, here) as one, Pop3From(limited.pop3, here) as two:
        for _ in range(3):
            one.expect(b"NOOP", b"250 ")
        for _ in range(2):
            two.expect(b"CAPA", b"+OK")
            while two.line() != b".":
                pass
        for session, last in ((one, b"421 4.7.0 "), (two, b"-ERR [SYS/TEMP] ")):
            session.send(b"NOOP\r\n" * 3)
            *_, reply = lines = session.rest().splitlines()
            assert reply.startswith(last + b"too many commands from your address; "), lines
            assert IN_A_MINUTE.search(reply)
    with SmtpFrom(limited.smtp, there) as other:
        other.expect(b"NOOP", b"250 ")
    refused = limited.events("limits.commands_per_address")
    assert [event["client"] for event in refused] == [here] * 2
