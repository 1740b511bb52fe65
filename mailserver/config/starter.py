"""The configuration file that a new server starts with: a few keys, with comments for people who edit it.

``mailserver init`` writes it once. ``document`` makes the reference of all keys.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from mailserver.config.keys.dkim import DkimSection
from mailserver.config.keys.listen import Protocol, TlsMode
from mailserver.config.schema.problems import literal
from mailserver.mail.address import Address

_HEAD = """\
# Configuration of mailserver. "mailserver init" has written this file; the server never changes it.
# All other keys keep their defaults: see mailserver.toml(5), or share/mailserver/mailserver.toml.
# After a change, run: mailserver reload
"""

_GENERATED = """\
# No certificate was given, so the server makes one, for tests and for clients that trust {ca}.
# For a certificate of a public authority, replace the line by two:
#   certificate = "/etc/letsencrypt/live/{hostname}/fullchain.pem"
#   private_key = "/etc/letsencrypt/live/{hostname}/privkey.pem"
[tls]
generate = true
"""

_COMMENTS = {
    ("smtp", "starttls"): "Mail from other servers.",
    ("submission", "implicit"): "Mail from users, who log in. TLS begins with the connection.",
    ("submission", "starttls"): "The same for programs that begin TLS by STARTTLS.",
    ("pop3", "implicit"): "Users read their mail. TLS begins with the connection.",
    ("pop3", "starttls"): "The same for programs that begin TLS by STLS.",
}


@attrs.frozen
class StarterListener:
    """A section [[listen]]."""

    protocol: Protocol
    endpoint: str
    tls: TlsMode


@attrs.frozen(kw_only=True)
class StarterConfig:
    """The values of the file. Paths may be relative to its folder.

    ``account``: the first account, which gets the mail for postmaster and abuse (RFC 2142). ``certificate``:
    the files of the certificate and of its key; None if the server makes a certificate.
    """

    hostname: str
    domain: str
    data: Path
    account: Address
    listeners: Sequence[StarterListener]
    certificate: tuple[Path, Path] | None
    dkim: Sequence[DkimSection]
    allow_root: bool = False

    def text(self) -> str:
        """The text of the file."""
        return "\n".join(self._blocks())

    def _blocks(self) -> Iterator[str]:
        yield _HEAD
        yield _block("Name of this server, in DNS and in greetings.", hostname=self.hostname)
        yield _block("All mail, the accounts and the queue are stored here.", data=str(self.data))
        yield _block("Domains with mailboxes on this server.", domains=[self.domain])
        if self.account.key.local != "postmaster":
            yield _block("This account receives the mail for postmaster.", postmaster=str(self.account))
        if self.allow_root:
            yield _block("The server may run as root.", allow_root=True)
        for one in self.listeners:
            comment = _COMMENTS[one.protocol, one.tls]
            keys = {"protocol": one.protocol, "endpoint": one.endpoint, "tls": one.tls}
            yield _block(comment, "[[listen]]", **keys)
        if self.certificate is None:
            yield _GENERATED.format(ca=self.data / "tls" / "ca.pem", hostname=self.hostname)
        else:
            certificate, private_key = map(str, self.certificate)
            comment = "The server loads renewed files by itself."
            yield _block(comment, "[tls]", certificate=certificate, private_key=private_key)
        if self.account.key.local != "abuse":
            address = f"abuse@{self.domain}"
            yield _block("Complaints about spam.", "[[alias]]", address=address, to=[str(self.account)])
        for key in self.dkim:
            comment = 'Outgoing mail is signed. "mailserver dns" prints the DNS record of the key.'
            yield _block(comment, "[[dkim]]", domain=key.domain, selector=key.selector, key=str(key.key))


def _block(comment: str, heading: str = "", **keys: object) -> str:
    lines = [f"# {comment}", *([heading] if heading else [])]
    return "\n".join([*lines, *(f"{name} = {literal(value)}" for name, value in keys.items()), ""])
