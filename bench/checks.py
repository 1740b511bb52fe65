"""Measures the cost of the checks of senders: ``python -m bench.checks``.

It sends messages of 4 KiB from an address that is exempt from SPF, DKIM and DMARC, and from one that is not,
without a signature and with one or two. A DNS server of its own answers the first question of each kind; all
later answers come from the cache. The client is the same for all, and slower than ``smtp-source``: compare
only the rows of the table. The processor time of the server is the most reliable figure.

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
    """A DNS server with TXT records; no other name exists."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self.texts = texts
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
        text = self.texts.get(name.to_text(omit_final_dot=True).lower())
        if text is not None and query.question[0].rdtype == dns.rdatatype.TXT:
            strings = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
            reply.answer.append(dns.rrset.from_text(name, TTL, "IN", "TXT", strings))
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            soa = f"ns.{AUTHOR}. admin.{AUTHOR}. 1 3600 600 {TTL} {TTL}"
            reply.authority.append(dns.rrset.from_text(f"{AUTHOR}.", TTL, "IN", "SOA", soa))
        return reply


class CheckingServer(Mailserver):
    """A server that checks all clients but those at 127.0.0.1."""

    signers: Mapping[KeyKind, Signer]
    answers: Answers

    def start(self) -> None:
        kinds: tuple[KeyKind, ...] = ("rsa", "ed25519")
        self.signers = {kind: Signer(AUTHOR, kind, make_key(kind)) for kind in kinds}
        keys = {f"{kind}._domainkey.{AUTHOR}": key_record(one.key) for kind, one in self.signers.items()}
        spf, dmarc = f"v=spf1 ip4:{STRANGER} -all", "v=DMARC1; p=reject"
        self.answers = Answers({AUTHOR: spf, f"_dmarc.{AUTHOR}": dmarc, **keys})
        self.answers.start()
        super().start()

    def configuration(self) -> str:
        dns_server = f'[dns]\nservers = ["{HOST}:{self.answers.port}"]'
        return f'{super().configuration()}{dns_server}\n[policy]\nexempt = ["{HOST}"]\ndmarc = "enforce"\n'

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
            say(client, f"EHLO mail.{AUTHOR}\r\n".encode(), b"250")
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
        "Measure the cost of SPF, DKIM and DMARC.",
        lambda folder: CheckingServer(folder, [f"user{number}" for number in range(CONNECTIONS)]),
        list(rows),
        lambda server, title: run(server, rows[title]),
    )


if __name__ == "__main__":
    sys.exit(main())
