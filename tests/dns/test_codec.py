"""Replies of any octets: an answer or a ValueError, in bounded time."""

import struct
from time import process_time

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.dns.codec import MAX_RECORDS, DNSQuery
from mailserver.dns.records import MX, TLSA
from mailserver.dns.reply import DNSReply
from tests.support.dns_zone import DnsZone, many_mx

NAME = "example.org"
ZONE = DnsZone(
    f"{NAME} MX 10 mx.{NAME}", f"{NAME} A 192.0.2.1", f'{NAME} TXT "text"', f"{NAME} AAAA ::1",
    f"www.{NAME} CNAME {NAME}", f"_25._tcp.{NAME} TLSA 3 1 1 " + "00" * 32,
    f"{NAME} SRV 0 1 465 mail.{NAME}",
)  # fmt: skip
POINTER = b"\xc0\x0c"  # to the name in the question


def reply_of(query: DNSQuery) -> bytes:
    reply = ZONE.exchange(query.wire)
    assert reply
    return reply


def read(query: DNSQuery, message: bytes) -> DNSReply | None:
    try:
        return query.read(message)
    except ValueError:
        return None


@pytest.mark.parametrize("name", [NAME, f"www.{NAME}", f"_25._tcp.{NAME}", "no.example"])
@pytest.mark.parametrize("kind", ["MX", "A", "AAAA", "TXT", "SRV", "TLSA", "CNAME"])
def test_a_cut_reply_is_malformed(name: str, kind: str) -> None:
    query = DNSQuery(name, kind, dnssec=True)  # type: ignore[arg-type]
    message = reply_of(query)
    assert query.read(message) == query.read(message)
    assert [read(query, message[:length]) for length in range(len(message))] == [None] * len(message)


@given(st.data())
def test_changed_replies(data: st.DataObject) -> None:
    query = DNSQuery(
        data.draw(st.sampled_from([NAME, f"www.{NAME}"])),
        data.draw(st.sampled_from(["MX", "TXT", "A"])),
        True,
    )
    message = bytearray(reply_of(query))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    reply = read(query, bytes(message))
    assert reply is None or (reply.ttl >= 0 and reply.canonical.isascii() and reply.canonical.isprintable())


@given(st.binary(max_size=100))
def test_any_octets(octets: bytes) -> None:
    query = DNSQuery(NAME, "MX", dnssec=True)
    read(query, octets)
    read(query, query.wire[:2] + b"\x81\x80" + octets)
    read(query, reply_of(query)[:45] + octets)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda reply: setattr(reply, "flags", 0), "no reply"),
        (lambda reply: reply.set_opcode(dns.opcode.UPDATE), "no reply"),
        (lambda reply: reply.question.clear(), "no question"),
        (lambda reply: reply.question.append(reply.question[0]), "no reply"),
    ],
)
def test_what_is_no_reply(change: object, text: str) -> None:
    query = DNSQuery(NAME, "MX", dnssec=True)
    reply = dns.message.from_wire(reply_of(query))
    change(reply)  # type: ignore[operator]
    with pytest.raises(ValueError, match=text):
        query.read(reply.to_wire())


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_an_error_needs_no_question_and_may_have_an_explanation(rcode: str) -> None:
    query = DNSQuery(NAME, "MX", dnssec=True)
    reply = dns.message.make_response(dns.message.from_wire(query.wire))
    reply.set_rcode(dns.rcode.from_text(rcode))
    reply.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS, "\r\nforged log line")])
    reply.question.clear()
    found = query.read(reply.to_wire())
    assert (found.rcode, found.reason) == (rcode, f"{rcode} (dnssec bogus)")


def test_a_tlsa_record_that_no_client_can_use_is_a_record() -> None:
    query = DNSQuery(f"_25._tcp.{NAME}", "TLSA", dnssec=True)
    message, data = reply_of(query), b"\3\1\1" + b"\0" * 32
    at = message.index(b"\0\x23" + data)
    short = message[:at] + b"\0\5\x03\1\1ab" + message[at + 37 :]
    assert query.read(short).records == (TLSA(3, 1, 1, b"ab"),)
    with pytest.raises(ValueError, match="malformed"):
        query.read(message[:at] + b"\0\2\x03\1" + message[at + 37 :])


def test_records_of_other_names_do_not_count() -> None:
    query = DNSQuery(NAME, "MX", dnssec=True)
    reply = dns.message.from_wire(reply_of(query))
    reply.answer.append(dns.rrset.from_text("other.example.", 1, "IN", "MX", "1 evil.example."))
    reply.answer.append(dns.rrset.from_text(f"{NAME}.", 1, "IN", "TXT", "another type"))
    found = query.read(reply.to_wire())
    assert (found.records, found.ttl) == ((MX(10, f"mx.{NAME}"),), 300)
    query = DNSQuery(NAME, "TXT", dnssec=True)
    reply = dns.message.from_wire(reply_of(query))
    reply.answer.append(dns.rrset.from_text(f"{NAME}.", 1, "CH", "TXT", "chaos"))
    assert query.read(reply.to_wire()).records == (b"text",)


def test_long_names_in_many_records_take_bounded_time() -> None:
    """The comparison of such records takes 10 seconds in dnspython 2.9."""
    query = DNSQuery(NAME, "MX", dnssec=True)
    start, name = len(query.wire) - 11, b"\1a" * 120 + b"\0"  # without the OPT record

    def record(number: int, name: bytes) -> bytes:
        return POINTER + struct.pack("!HHIHH", 15, 1, 300, len(name) + 2, number) + name

    records = [
        record(0, name),
        *(record(one, struct.pack("!H", 0xC000 | start + 14)) for one in range(1, MAX_RECORDS)),
    ]
    header = query.wire[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, MAX_RECORDS, 0, 0)
    began = process_time()
    reply = query.read(header + query.wire[12:start] + b"".join(records))
    assert len(reply.records) == MAX_RECORDS and len(reply.records[-1].host) == 239
    assert process_time() - began < 2


def test_too_many_records_are_not_read() -> None:
    zone = DnsZone(*many_mx(NAME, MAX_RECORDS + 1))
    query = DNSQuery(NAME, "MX", dnssec=True)
    with pytest.raises(ValueError, match=f"more than {MAX_RECORDS} records"):
        query.read(zone.exchange(query.wire) or b"")
