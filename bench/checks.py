"""Measures the cost of the checks of senders: ``python -m bench.checks``.

It sends messages of 4 KiB from an address that is exempt from all checks, and from one that is not, without a
signature and with one or two. The checks are SPF, DKIM, DMARC, a DNS list, reverse DNS, the name in EHLO,
greylisting of suspicious clients, and first contact. Clients of the second kind are at a public address, by
XCLIENT. A DNS server of its own answers the first question of each kind; all later answers come from the
cache. The client is the same for all, and slower than ``smtp-source``: compare only the rows of the table.
The processor time of the server is the most reliable figure.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import attrs
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from mailserver.policy.dkim.keys import KeyKind, key_record, make_key
from mailserver.policy.dkim.signer import Signer

from . import in_turn
from .errors import BenchError
from .meter import Figures, Meter
from .servers import DOMAIN, HOST, Mailserver
from .signatures import HEAD, signed
from .smtpload import say

CONNECTIONS = 10
EACH = 200  # messages per connection
AUTHOR = "example.org"
STRANGER = "127.0.0.2"
PUBLIC = "192.0.2.2"
NAME = f"out.{AUTHOR}"
BODY = b"The quick brown fox jumps over the lazy dog, and then it does so again.\r\n" * 56
TTL = 86400


@attrs.frozen
class Row:
    """``kinds`` are the keys that sign the message."""

    title: str
    source: str
    kinds: tuple[KeyKind, ...] = ()


ROWS = (
    Row("no checks", HOST),
    Row("all checks, no signature", STRANGER),
    Row("all checks, RSA-2048", STRANGER, ("rsa",)),
    Row("all checks, Ed25519 and RSA-2048", STRANGER, ("ed25519", "rsa")),
)


class Answers(threading.Thread):
    """A DNS server with these records, by type and name; no other name exists."""

    def __init__(self, records: Mapping[tuple[str, str], str]) -> None:
        super().__init__(daemon=True)
        self.records = records
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.port = int(self.socket.getsockname()[1])

    def run(self) -> None:
        while True:
            wire, client = self.socket.recvfrom(65535)
            self.socket.sendto(self.reply(dns.message.from_wire(wire)).to_wire(), client)

    def reply(self, query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        name = query.question[0].name
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        text = self.records.get((kind, name.to_text(omit_final_dot=True).lower()))
        if text is not None:
            if kind == "TXT":
                text = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
            reply.answer.append(dns.rrset.from_text(name, TTL, "IN", kind, text))
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            soa = f"ns.{AUTHOR}. admin.{AUTHOR}. 1 3600 600 {TTL} {TTL}"
            reply.authority.append(dns.rrset.from_text(f"{AUTHOR}.", TTL, "IN", "SOA", soa))
        return reply


ALL_CHECKS = f"""reverse_dns_weight = 1
helo_weight = 1
greylist = "suspicious"
first_contact = "tag"
[[dnsbl]]
zone = "list.example"
action = "refuse"
codes = ["127.0.0.2-127.0.0.11"]
[smtp]
xclient_networks = ["{STRANGER}"]
[limits]
exempt = ["127.0.0.0/8", "{PUBLIC}"]
"""


class CheckingServer(Mailserver):
    """A server that checks all clients but those at 127.0.0.1."""

    signers: Mapping[KeyKind, Signer]
    answers: Answers

    def start(self) -> None:
        kinds: tuple[KeyKind, ...] = ("rsa", "ed25519")
        self.signers = {kind: Signer(AUTHOR, kind, make_key(kind)) for kind in kinds}
        keys = {
            ("TXT", f"{kind}._domainkey.{AUTHOR}"): key_record(one.key) for kind, one in self.signers.items()
        }
        self.answers = Answers(
            {
                ("TXT", AUTHOR): f"v=spf1 ip4:{PUBLIC} -all",
                ("TXT", f"_dmarc.{AUTHOR}"): "v=DMARC1; p=reject",
                ("PTR", "2.2.0.192.in-addr.arpa"): f"{NAME}.",
                ("A", NAME): PUBLIC,
                **keys,
            }
        )
        self.answers.start()
        super().start()

    def configuration(self) -> str:
        return (
            f'{super().configuration()}[dns]\nservers = ["{HOST}:{self.answers.port}"]\n'
            f'[policy]\nexempt = ["{HOST}"]\ndmarc = "enforce"\n{ALL_CHECKS}'
        )

    def messages(self, kinds: Sequence[KeyKind]) -> list[bytes]:
        """Different messages with these signatures."""
        return [self.message(kinds, number) for number in range(EACH)]

    def message(self, kinds: Sequence[KeyKind], number: int) -> bytes:
        head, body = HEAD + b"References: <%d@example.org>\r\n" % number, b"%d\r\n" % number + BODY
        fields = signed([self.signers[kind] for kind in kinds], [body], head) if kinds else b""
        return fields + head + b"\r\n" + body + b".\r\n"


class CheckedSender(threading.Thread):
    """One client. It sends all its messages to one mailbox, on one connection."""

    def __init__(self, server: Mailserver, source: str, user: str, messages: Sequence[bytes]) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.source = source
        self.user = user
        self.messages = messages
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self.send()
        except (BenchError, OSError) as error:
            self.failure = error

    def send(self) -> None:
        mail = f"MAIL FROM:<a@{AUTHOR}>\r\n".encode()
        rcpt = f"RCPT TO:<{self.user}@{DOMAIN}>\r\n".encode()
        with socket.create_connection(self.server.smtp, source_address=(self.source, 0)) as client:
            say(client, b"", b"220")
            say(client, f"EHLO {NAME}\r\n".encode(), b"250")
            if self.source == STRANGER:
                say(client, f"XCLIENT ADDR={PUBLIC} NAME={NAME}\r\n".encode(), b"220")
                say(client, f"EHLO {NAME}\r\n".encode(), b"250")
            for message in self.messages:
                say(client, mail, b"250")
                say(client, rcpt, b"250")
                say(client, b"DATA\r\n", b"354")
                say(client, message, b"250")
            say(client, b"QUIT\r\n", b"221")


def run(server: CheckingServer, row: Row) -> Figures:
    """The figures of one row. Raises BenchError."""
    different = server.messages(row.kinds)
    senders = [CheckedSender(server, row.source, user, different) for user in server.users]
    with Meter(server) as meter:
        began = time.perf_counter()
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        seconds = time.perf_counter() - began
    for sender in senders:
        if sender.failure is not None:
            raise BenchError(f"{row.title}: {sender.failure}")
        server.sent[sender.user] = server.sent.get(sender.user, 0) + EACH
    messages = EACH * len(senders)
    return {"messages/s": messages / seconds, **meter.figures("message", messages)}


def main() -> int:
    rows = {row.title: row for row in ROWS}
    return in_turn.main(
        "checks",
        "Measure the cost of the checks of senders.",
        lambda folder: CheckingServer(folder, [f"user{number}" for number in range(CONNECTIONS)]),
        list(rows),
        lambda server, title: run(server, rows[title]),
    )


if __name__ == "__main__":
    sys.exit(main())
