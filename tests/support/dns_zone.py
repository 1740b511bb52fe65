"""A DNS server for tests: UDP and TCP on one free port of loopback, with records and faults on demand.

It runs in threads of its own, so it serves a reactor in this process as well as a server in another one:

    with DnsZone("example.org MX 10 mx.example.org", "mx.example.org 60 A 192.0.2.1") as zone:
        configuration = f'[dns]\\nservers = ["{zone.address}"]'
        ...
        zone.add("www.example.org CNAME example.org")
        zone.remove("mx.example.org", "A")
        zone.faults["mx.example.org"] = "servfail"         # one name, all kinds
        zone.faults["mx.example.org", "AAAA"] = "silence"  # one name, one kind
        zone.delays["example.org"] = 0.5                   # seconds before each reply by UDP
        zone.secure.add("example.org")                     # the AD flag, even if nobody asks for it
        assert zone.asked[-1] == ("example.org", "MX", "udp")

A record is a line of a master file with a whole name; its time to live is 300 seconds unless given. A name
without records does not exist. Aliases are followed, as a recursive server does. The faults are in
:data:`Fault`. Code that only uses ``IResolver`` needs no server: take :mod:`tests.support.resolvers`.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any, Literal, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

import mailserver.dns.codec  # noqa: F401 - a resolver would import it in a thread, which a Clock does not have

Fault = Literal[
    # the response code
    "servfail",
    "refused",
    "formerr",
    "nxdomain",
    # no reply by UDP, nor by TCP
    "silence",
    # the TC flag and no records by UDP; by TCP the records, the same, no reply, or the end of the connection
    "truncated",
    "truncated everywhere",
    "truncated, then silence",
    "truncated, then closed",
    # replies that do not belong to the query, by UDP; the right reply by TCP, except "everywhere"
    "wrong id",
    "truncated, then wrong id",
    "many wrong ids",
    "wrong question",
    "wrong question everywhere",
    "garbage",
    "garbage everywhere",
    "wrong source",
    # before the right reply, one with another id and the address 192.0.2.66
    "forged",
    # the CNAME record alone
    "not followed",
]
FORGED = "192.0.2.66"
LOOPBACK = "127.0.0.1"
TTL = 300
NEGATIVE_TTL = 60
MAX_MESSAGE = 65535  # octets
MAX_ALIASES = 20  # more than the resolver follows
FLOOD = 20  # replies with wrong ids


class DnsZone(asyncio.DatagramProtocol):
    """Serves the records while it is used as a context.

    ``asked`` and ``queries`` have the queries, in their order; ``ports`` the ports of those by UDP.
    """

    def __init__(self, *records: str) -> None:
        self.faults: dict[str | tuple[str, str], Fault] = {}
        self.delays: dict[str, float] = {}
        self.secure: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self.queries: list[dns.message.Message] = []
        self.ports: list[int] = []
        self.rrsets: dict[tuple[str, str], dns.rrset.RRset] = {}
        self.add(*records)

    def add(self, *records: str) -> None:
        for line in records:
            name, *words = line.split()
            ttl = int(words.pop(0)) if words[0].isdigit() else TTL
            kind, *data = words
            rrset = dns.rrset.from_text_list(
                f"{_key(name)}.", ttl, "IN", kind, [" ".join(data)], origin=dns.name.root, relativize=False
            )
            self.rrsets.setdefault((_key(name), kind), rrset).update(rrset)

    def remove(self, name: str, kind: str) -> None:
        del self.rrsets[_key(name), kind]

    @property
    def address(self) -> str:
        """The server, as a value of dns.servers."""
        return f"{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._connections: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *args: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, steps: Any) -> None:
        asyncio.run_coroutine_threadsafe(steps, self._loop).result()

    async def _open(self) -> None:
        tcp, udp = _same_port()
        self.port = tcp.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=tcp)
        self._udp, _ = await self._loop.create_datagram_endpoint(lambda: self, sock=udp)
        self._other, _ = await self._loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=(LOOPBACK, 0)
        )

    async def _close(self) -> None:
        self._udp.close()
        self._other.close()
        self._server.close()
        for connection in self._connections:
            connection.transport.abort()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    def datagram_received(self, data: bytes, client: Any) -> None:
        query, fault = self._received(data, "udp")
        self.ports.append(client[1])
        sender = self._other if fault == "wrong source" else self._udp
        for reply in self._by_udp(query, fault):
            self._loop.call_later(self.delays.get(_name(query), 0.0), sender.sendto, reply, client)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.append(writer)
        try:
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            reply = self.exchange(data)
            if reply:
                writer.write(len(reply).to_bytes(2) + reply)
            if reply != b"":
                await reader.read()  # to the end of the connection
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _received(self, data: bytes, way: str) -> tuple[dns.message.Message, str]:
        query = dns.message.from_wire(data)
        name, kind = _name(query), dns.rdatatype.to_text(query.question[0].rdtype)
        self.queries.append(query)
        self.asked.append((name, kind, way))
        return query, str(self.faults.get((name, kind)) or self.faults.get(name) or "")

    def _by_udp(self, query: dns.message.Message, fault: str) -> Iterator[bytes]:
        reply = self._reply(query, fault)
        right = reply.to_wire(max_size=query.payload or 512, prefer_truncation=True)
        if fault.startswith("truncated"):
            reply.answer, reply.flags = [], reply.flags | dns.flags.TC
            yield reply.to_wire()
        elif fault.startswith("garbage"):
            yield right[:2] + b"\xff" * 40
        elif fault.startswith("wrong question"):
            yield _about_another_name(right)
        elif fault == "wrong id":
            yield _with_another_id(right)
        elif fault in ("many wrong ids", "forged"):
            for reply.id in (
                (query.id + 1 + more) % 2**16 for more in range(FLOOD if fault[0] == "m" else 1)
            ):
                reply.answer = [dns.rrset.from_text(query.question[0].name, TTL, "IN", "A", FORGED)]
                yield reply.to_wire()
            if fault == "forged":
                yield right
        elif fault != "silence":
            yield right

    def exchange(self, data: bytes) -> bytes | None:
        """The reply to a query by TCP, b"" to close the connection, None for silence. Needs no socket."""
        query, fault = self._received(data, "tcp")
        if fault in ("silence", "truncated, then silence"):
            return None
        if fault == "truncated, then closed":
            return b""
        reply = self._reply(query, fault)
        if fault == "truncated everywhere":
            reply.flags |= dns.flags.TC
        right = reply.to_wire(max_size=MAX_MESSAGE, prefer_truncation=True)
        if fault == "garbage everywhere":
            return right[:2] + b"\xff" * 40
        if fault == "truncated, then wrong id":
            return _with_another_id(right)
        return _about_another_name(right) if fault == "wrong question everywhere" else right

    def _reply(self, query: dns.message.Message, fault: str) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        if fault in ("servfail", "refused", "formerr", "nxdomain"):
            reply.set_rcode(dns.rcode.from_text(fault))
        else:
            self._answer(reply, _name(query), dns.rdatatype.to_text(query.question[0].rdtype), fault)
        if _name(query) in self.secure:
            reply.flags |= dns.flags.AD
        return reply

    def _answer(self, reply: dns.message.Message, name: str, kind: str, fault: str) -> None:
        for _ in range(MAX_ALIASES):
            if found := self.rrsets.get((name, kind)):
                reply.answer.append(found)
                return
            alias = self.rrsets.get((name, "CNAME"))
            if alias is None:
                break
            reply.answer.append(alias)
            name = _key(alias[0].target.to_text())
            if fault == "not followed":
                return
        if not any(known == name or known.endswith(f".{name}") for known, _ in self.rrsets):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"ns.example. admin.example. 1 3600 600 86400 {NEGATIVE_TTL}"
        reply.authority.append(dns.rrset.from_text("example.", TTL, "IN", "SOA", soa))


def many_mx(name: str, count: int) -> list[str]:
    """So many MX records."""
    return [f"{name} MX {number} mx{number}.{name}" for number in range(count)]


def printed_records(output: str) -> list[str]:
    """The records that ``mailserver dns`` prints, also those in comments, for :meth:`DnsZone.add`."""
    return [f"{name} {rest}" for name, rest in re.findall(r"^;?(\S+)\. IN (\S+ .+)$", output, re.MULTILINE)]


def _key(name: str) -> str:
    return name.lower().removesuffix(".")


def _name(query: dns.message.Message) -> str:
    return _key(query.question[0].name.to_text())


def _with_another_id(message: bytes) -> bytes:
    return bytes([message[0] ^ 0xFF]) + message[1:]


def _about_another_name(message: bytes) -> bytes:
    """The first letter of the name in the question is another one."""
    return message[:13] + bytes([message[13] ^ 1]) + message[14:]


def _same_port() -> tuple[socket.socket, socket.socket]:
    """A TCP and a UDP socket with the same free port."""
    while True:
        tcp = socket.create_server((LOOPBACK, 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            udp.close()
        else:
            return tcp, udp
