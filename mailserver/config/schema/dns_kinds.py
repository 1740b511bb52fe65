"""Kinds of the values of DNS: names (RFC 1035), DKIM selectors (RFC 6376 section 3.1), resolvers, and the
answers of a DNSBL (RFC 5782 section 2.1).

They check the form of a value only: they resolve no name and send no query.
"""

import ipaddress
import re

import attrs

from mailserver.config.schema.kinds import Context, ParsedText
from mailserver.config.schema.problems import InvalidValue, show
from mailserver.errors import AddressError
from mailserver.mail.address import parse_domain


def _dns_name(text: str, context: Context) -> str:
    if text.startswith("["):
        raise InvalidValue(f"{show(text)} is an address literal, not a name")
    return parse_domain(text)


DNS_NAME = ParsedText("domain", _dns_name, 'a domain name such as "example.org"')


def _selector(text: str, context: Context) -> str:
    try:
        return _dns_name(text, context)
    except (AddressError, InvalidValue):
        raise InvalidValue(f"invalid selector {show(text)}") from None


SELECTOR = ParsedText("selector", _selector, 'a DNS label such as "s1", or several with dots between them')


@attrs.frozen
class DnsServer:
    """A DNS resolver that the server asks."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int = 53

    def __str__(self) -> str:
        if self.port == 53:
            return str(self.address)
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


# server = IPv4 [ ":" port ] / IPv6 / "[" IPv6 "]:" port
_WITH_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<ipv4>[0-9.]+)):(?P<port>[0-9]{1,5})")


def _dns_server(text: str, context: Context) -> DnsServer:
    match = _WITH_PORT.fullmatch(text)
    try:
        if match is None:
            server = DnsServer(ipaddress.ip_address(text))
        elif match["ipv6"]:
            server = DnsServer(ipaddress.IPv6Address(match["ipv6"]), int(match["port"]))
        else:
            server = DnsServer(ipaddress.IPv4Address(match["ipv4"]), int(match["port"]))
    except ValueError:
        raise InvalidValue(f"invalid address {show(text)}") from None
    if getattr(server.address, "scope_id", None) is not None:
        raise InvalidValue(f"the address {show(text)} has a zone")
    if not 0 < server.port < 2**16:
        raise InvalidValue(f"invalid port in {show(text)}", "a port from 1 to 65535")
    return server


DNS_SERVER = ParsedText(
    "address",
    _dns_server,
    'an IP address, or one with a port: "192.0.2.53", "192.0.2.53:5353", "2001:db8::53" or '
    '"[2001:db8::53]:5353"',
)


@attrs.frozen
class CodeRange:
    """Answers of a DNSBL, from ``first`` to ``last``, with both of them."""

    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


_LISTED = ipaddress.IPv4Network("127.0.0.0/8")
_REFUSED = ipaddress.IPv4Address("127.255.255.0")
_IN_LISTS = "addresses from 127.0.0.0 to 127.255.254.255"


def _codes(text: str, context: Context) -> CodeRange:
    first, dash, last = text.partition("-")
    try:
        codes = CodeRange(ipaddress.IPv4Address(first), ipaddress.IPv4Address(last if dash else first))
    except ValueError:
        raise InvalidValue(f"invalid address or range {show(text)}") from None
    if codes.first > codes.last:
        raise InvalidValue(f"the range {show(text)} ends before it starts")
    if codes.first not in _LISTED or codes.last not in _LISTED or codes.last >= _REFUSED:
        raise InvalidValue(f"{show(text)} has answers that mean an error of the list", _IN_LISTS)
    return codes


CODES = ParsedText(
    "range", _codes, 'an IPv4 address or a range such as "127.0.0.2" or "127.0.0.2-127.0.0.11"'
)
