"""The packets that a mail server sends, and the macros before them.

Macros are facts beside the arguments of a command. A name has braces unless it is one character:

    connect   j v {daemon_name} {client_addr} {client_name} _
    helo      {tls_version} {cipher}
    mail      i {auth_authen} {mail_addr} {mail_host}
    rcpt      i {rcpt_addr} {rcpt_host}
    message   i
"""

import struct
from collections.abc import Iterable, Mapping

from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.envelope import Parameters
from mailserver.mail.trace import address_literal
from mailserver.policy.milter.packets import packet, strings

CONNECT, HELO, MAIL, RCPT, DATA = b"C", b"H", b"M", b"R", b"T"
HEADER, END_OF_HEADER, BODY, END_OF_BODY = b"L", b"N", b"B", b"E"
ABORT = packet(b"A")
QUIT = packet(b"Q")

MAX_BODY = 65535  # octets of one piece of the body, as in libmilter

_PORT = struct.Struct(">H")
Macros = Mapping[str, str]


def macros(command: bytes, values: Macros) -> bytes:
    """The macros for the next command. Those without a value are not sent."""
    pairs = [(name if len(name) == 1 else f"{{{name}}}", value) for name, value in values.items() if value]
    return packet(b"D", command + strings(_octets(text) for pair in pairs for text in pair))


def connect(ip: str) -> bytes:
    """The client, without its port. ``ip`` is "" for a unix socket."""
    if not ip:
        return packet(CONNECT, strings([b"localhost"]) + b"U")
    ip = ip.partition("%")[0]
    family = b"6" if ":" in ip else b"4"
    address = f"IPv6:{ip}" if ":" in ip else ip
    return packet(
        CONNECT, strings([_octets(host_name(ip))]) + family + _PORT.pack(0) + strings([_octets(address)])
    )


def host_name(ip: str) -> str:
    """The name of a client whose name is not known: its address literal, as in Sendmail."""
    return address_literal(ip) if ip else "localhost"


def helo(name: str) -> bytes:
    """The argument of HELO or EHLO."""
    return packet(HELO, strings([_octets(name)]))


def mail(path: ReversePath, parameters: Parameters) -> bytes:
    """The arguments of MAIL."""
    return packet(MAIL, strings(_with_parameters(format_path(path), parameters)))


def rcpt(address: Address, parameters: Parameters) -> bytes:
    """The arguments of RCPT."""
    return packet(RCPT, strings(_with_parameters(format_path(address), parameters)))


def header(name: bytes, value: bytes) -> bytes:
    """One header field. The lines of its value are separated by LF alone."""
    return packet(HEADER, strings([name, value]))


def body(piece: bytes) -> bytes:
    """A piece of the body of at most :data:`MAX_BODY` octets."""
    return packet(BODY, piece)


def _with_parameters(path: str, parameters: Parameters) -> Iterable[bytes]:
    yield _octets(path)
    for keyword, value in parameters.items():
        yield _octets(keyword if value is None else f"{keyword}={value}")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
