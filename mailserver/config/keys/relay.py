"""The sections [relay] and [[throttle]]: mail for other servers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from mailserver.config.schema.dns_kinds import DNS_NAME
from mailserver.config.schema.kinds import Context, ListOf, MapOf
from mailserver.config.schema.mail_kinds import (
    ADDRESS,
    DESTINATION,
    DESTINATION_OR_NONE,
    DOMAIN,
    IP_ADDRESS,
    NETWORK,
    PATH_OR_NONE,
    TEXT_OR_NONE,
    IPAddress,
    Network,
)
from mailserver.config.schema.problems import KeyProblem, show
from mailserver.config.schema.scalars import Boolean, Choice, Duration, Integer
from mailserver.config.schema.tables import key
from mailserver.mail.address import Address

RelayTls = Literal["none", "opportunistic", "required"]
DomainTls = Literal["none", "opportunistic", "required", "verified"]
_DOMAIN_TLS = Choice[DomainTls](get_args(DomainTls))


@attrs.frozen(kw_only=True)
class RelaySection:
    """``smarthost`` is empty for delivery by MX. The keys of ``routes`` are normalised domains."""

    networks: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Networks of clients that may send mail to other servers without authentication.",
        default=["127.0.0.0/8", "::1"],
    )
    smarthost: str = key(
        DESTINATION_OR_NONE,
        "Server that receives all mail for other servers, except for the domains in routes. With smtps: "
        "or port 465, TLS begins with the first octet (RFC 8314); otherwise it begins by STARTTLS.",
        default="",
        note="delivery by MX",
        example="smtp.example.net:587",
    )
    routes: Mapping[str, str] = key(
        MapOf(DOMAIN, DESTINATION, f"a table from domains to destinations: {DESTINATION.allowed}"),
        "Servers that receive the mail for single domains, in place of the smarthost or of the MX hosts.",
        default={},
        example={"example.net": "lmtp:unix:/run/lmtp.sock"},
    )
    domains: tuple[str, ...] = key(
        ListOf(DNS_NAME, may_be_empty=True),
        "Domains of other servers whose mail this server accepts from every client and passes on.",
        default=[],
        example=["example.net"],
    )
    atrn: Mapping[str, tuple[Address, ...]] = key(
        MapOf(
            DNS_NAME,
            ListOf(ADDRESS),
            f"a table from domains to arrays of accounts: {ADDRESS.allowed}",
        ),
        "Those of domains whose server fetches its mail from here by ATRN (RFC 2645), with the accounts that "
        "it may log in to for that. Their mail waits in the queue, unless routes has the domain.",
        default={},
        example={"example.net": ["alice"]},
    )
    tls: RelayTls = key(
        Choice[RelayTls](get_args(RelayTls)),
        "TLS to other servers: never (none), if the other server offers it (opportunistic), or always "
        "(required); then mail for servers without TLS is deferred. A login at the smarthost always "
        "requires TLS with a valid certificate, unless the smarthost has a loopback address.",
        default="opportunistic",
    )
    tls_domains: Mapping[str, DomainTls] = key(
        MapOf(DOMAIN, _DOMAIN_TLS, f"a table from domains to levels of TLS: {_DOMAIN_TLS.allowed}"),
        "TLS for the mail to single domains, in place of tls. With verified, the other server must also "
        "present a valid certificate for its host name. Forged DNS answers can name another host: a route "
        "for the domain prevents that.",
        default={},
        example={"example.net": "verified"},
    )
    tls_reports: bool = key(
        Boolean(),
        "Daily reports about TLS (RFC 8460) to the domains that ask for them. The contact is postmaster of "
        "the first of domains. Receivers may ignore reports without a DKIM signature, so a section [[dkim]] "
        "should name that domain.",
        default=False,
    )
    source_address: tuple[IPAddress, ...] = key(
        ListOf(IP_ADDRESS, may_be_empty=True),
        "Local addresses for connections to other servers: at most one IPv4 and one IPv6 address.",
        default=[],
        note="the system selects them",
        example=["192.0.2.1", "2001:db8::1"],
    )
    smarthost_user: str = key(
        TEXT_OR_NONE,
        "Name for the login at the smarthost. It requires a smarthost and smarthost_password_file.",
        default="",
        note="no login",
    )
    smarthost_password_file: Path | None = key(
        PATH_OR_NONE,
        "File whose first line is the password for the login at the smarthost. Other users must not be able "
        "to read it. The file is read for each login.",
        default="",
        note="no login",
    )
    allow_private: bool = key(
        Boolean(),
        "Permission to deliver to private and loopback addresses that DNS names for a domain.",
        default=False,
    )


def check_relay(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    for index, domain in enumerate(values.get("domains", ())):
        if domain in (context.domains or ()):
            text = f"{show(domain)} has mailboxes on this server; allowed: domains of other servers"
            yield KeyProblem(context.below("domains").item(index).key, text)
    for domain in values.get("atrn", ()):
        if domain not in values.get("domains", ()):
            text = f"{show(domain)} is not in relay.domains; allowed: domains of relay.domains"
            yield KeyProblem(context.below("atrn").below(domain).key, text)
    families = [address.version for address in values.get("source_address", ())]
    for index, family in enumerate(families):
        if family in families[:index]:
            text = f"a second IPv{family} address; allowed: at most one of each family"
            yield KeyProblem(context.below("source_address").item(index).key, text)
    if not {"smarthost", "smarthost_user", "smarthost_password_file"} <= values.keys():
        return
    user, file = values["smarthost_user"], values["smarthost_password_file"]
    if user and file is None:
        text = "the key is missing; allowed: a path, or no smarthost_user"
        yield KeyProblem(context.below("smarthost_password_file").key, text)
    if file is not None and not user:
        text = "the key is missing; allowed: a name, or no smarthost_password_file"
        yield KeyProblem(context.below("smarthost_user").key, text)
    if user and not values["smarthost"]:
        text = "a login requires a smarthost; allowed: only with relay.smarthost"
        yield KeyProblem(context.below("smarthost_user").key, text)


@attrs.frozen(kw_only=True)
class ThrottleSection:
    """A limit of the messages to a domain, or to the servers below it."""

    domain: str = key(
        DOMAIN,
        "Domain whose mail is limited: the mail to its own addresses, and the mail of all domains to servers "
        "with names below it. So google.com limits the mail to all domains that Google serves. Messages over "
        "the limit wait in the queue.",
        example="example.net",
    )
    messages: int = key(Integer(1), "Number of messages in each interval.", example=100)
    per: float = key(Duration("1s"), "Length of the interval.", example="1h")


def check_throttle(sections: Sequence[ThrottleSection], context: Context) -> Iterator[KeyProblem]:
    """Each domain has one limit. ``context`` is that of all sections."""
    domains = [one.domain for one in sections]
    for index, domain in enumerate(domains):
        if domain in domains[:index]:
            text = f"duplicate limit of {domain}; allowed: one for each domain"
            yield KeyProblem(context.item(index).below("domain").key, text)
