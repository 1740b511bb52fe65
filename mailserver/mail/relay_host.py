"""One host that may take mail for a destination, with all that is needed to connect to it."""

import ipaddress

import attrs

SMTP_PORT = 25
SUBMISSIONS_PORT = 465
"""The port for TLS from the first octet (RFC 8314 section 3.3)."""


@attrs.frozen
class RelayHost:
    """A host with its addresses in the order of preference, or a unix socket: ``path``.

    ``name`` is the host name in lower case, or an IP address. ``implicit_tls``: TLS begins with the first
    octet. ``secure``: DNSSEC has validated the records that led to the host.
    """

    name: str
    addresses: tuple[str, ...] = ()
    port: int = SMTP_PORT
    path: str = ""
    implicit_tls: bool = False
    secure: bool = False

    @property
    def is_local(self) -> bool:
        """Whether the mail stays on this machine, so that nobody can read it on its way."""
        return bool(self.path) or all(ipaddress.ip_address(each).is_loopback for each in self.addresses)

    def label(self, address: str) -> str:
        """The host for people, with the address that was used, such as "mx1.example.net[192.0.2.1]"."""
        if self.path:
            return f"unix:{self.path}"
        name = f"{self.name}[{address}]" if address and address != self.name else self.name
        return name if self.port == SMTP_PORT else f"{name}:{self.port}"
