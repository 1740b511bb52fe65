"""What the records of a domain depend on: the parts of the configuration, as values."""

from collections.abc import Sequence

import attrs

from mailserver.policy.dkim.keys import SigningKey


@attrs.frozen
class ClientService:
    """A listener for mail programs. ``name`` is that of its SRV records, such as "_submissions._tcp"."""

    name: str
    port: int


@attrs.frozen(kw_only=True)
class DomainSetup:
    """A domain and the server that receives its mail.

    ``hostname`` is the name of the server. ``addresses`` are its public IP addresses; if they are not known,
    there are none, and ``found`` has those that DNS names. ``keys`` sign the mail of the domain: each with
    its selector and the domain of its record. ``chain`` has the certificates for port 25 as DER, that of the
    server first; none without TLS. ``smarthost``: another server sends the mail.
    """

    domain: str
    hostname: str
    addresses: Sequence[str] = ()
    found: Sequence[str] = ()
    keys: Sequence[tuple[str, str, SigningKey]] = ()
    chain: Sequence[bytes] = ()
    services: Sequence[ClientService] = ()
    smarthost: bool = False

    @property
    def senders(self) -> Sequence[str]:
        """The addresses that mail is sent from."""
        return self.addresses or self.found

    @property
    def postmaster(self) -> str:
        """The address for reports."""
        return f"postmaster@{self.domain}"
