"""The configuration as a value: what every key is called, what it means, and its default.

Together with ``access``, ``limits`` and ``sections`` this is the only place that knows the keys;
``schema`` tells how. Durations are in seconds, sizes in octets. The classes do not check what they
are built from: ``loader`` does.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from mailserver.config.access import Auth, Certificate, Tls, Token, check_tls
from mailserver.config.kinds import At, ListOf, MapOf, Secret
from mailserver.config.limits import Limits
from mailserver.config.mail_kinds import (
    ADDRESS,
    ADDRESS_HERE,
    ADDRESS_OR_NONE,
    DOMAIN,
    DOMAIN_HERE,
    ENDPOINT,
    MAILBOX_HERE,
    NETWORK,
    PASSWORD,
    PATH,
    Network,
)
from mailserver.config.problems import Problem
from mailserver.config.scalars import Boolean, Choice, Duration, Integer, Size
from mailserver.config.schema import Table, Tables, key
from mailserver.config.sections import (
    Log,
    Pop3,
    Queue,
    Relay,
    Smtp,
    Storage,
    Submission,
    check_storage,
)
from mailserver.mail.address import Address

Protocol = Literal["smtp", "submission", "lmtp", "pop3", "web", "metrics"]
TlsMode = Literal["none", "starttls", "implicit"]
_WITHOUT_STARTTLS = ("web", "metrics")


@attrs.frozen(kw_only=True)
class Listen:
    """One port."""

    protocol: Protocol = key(
        Choice[Protocol](get_args(Protocol)), "The protocol spoken there.", example="smtp"
    )
    endpoint: str = key(
        ENDPOINT,
        'Where to listen. "tcp:25" is IPv4 alone; "tcp6:25" takes IPv6 and, on Linux, IPv4, too. Port 0 '
        "chooses a free one and tells it in the ready file.",
        example="tcp:25",
    )
    tls: TlsMode = key(
        Choice[TlsMode](get_args(TlsMode)),
        'TLS on request, from the first octet, or not at all. Default: "starttls" with [tls], else "none"; '
        'always "none" for web and metrics, which know no STARTTLS.',
        default="none",
        compute=lambda listen: "none",
    )
    proxies: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Proxies and load balancers in front: a connection from one of these must begin with a PROXY header, "
        "version 1 or 2, that tells who the client really is.",
        default=[],
    )


def _check_listen(values: dict[str, Any], at: At) -> Iterator[Problem]:
    protocol, tls = values.get("protocol"), values.get("tls")
    if tls is None:
        values["tls"] = "starttls" if at.tls and protocol not in _WITHOUT_STARTTLS else "none"
    elif tls == "starttls" and protocol in _WITHOUT_STARTTLS:
        text = f'"starttls" does not exist for {protocol}; allowed: "none" or "implicit"'
        yield Problem(at.below("tls").key, text)
    elif tls != "none" and not at.tls:
        text = f'"{tls}" needs a certificate; allowed: "none", or any with a [tls] section'
        yield Problem(at.below("tls").key, text)


@attrs.frozen(kw_only=True)
class Account:
    """Somebody with a mailbox."""

    address: Address = key(MAILBOX_HERE, "The address, which is also the name to log in by.", example="alice")
    password: Secret = key(
        PASSWORD,
        'The password, or its hash. A plain password that begins with "{", or as a hash does, is written '
        '"{PLAIN}…". "{NONE}": no password, so that only other ways let it in.',
        example="secret",
    )
    quota: int | None = key(
        Size("0"),
        "How many octets the mailbox may hold; 0: any number. Default: storage.quota.",
        default=0,
        compute=lambda account: None,
    )
    quota_messages: int | None = key(
        Integer(0),
        "How many messages the mailbox may hold; 0: any number. Default: storage.quota_messages.",
        default=0,
        compute=lambda account: None,
    )


@attrs.frozen(kw_only=True)
class Alias:
    """An address that stands for others."""

    address: Address = key(ADDRESS_HERE, "The address.", example="sales")
    to: tuple[Address, ...] = key(
        ListOf(ADDRESS), "Where its mail goes, here or elsewhere.", example=["alice", "bob@elsewhere.example"]
    )
    announce: bool = key(
        Boolean(),
        "Whether senders are told the address that their mail goes on to, by 251; for a single one.",
        default=False,
    )


def _check_alias(values: dict[str, Any], at: At) -> Iterator[Problem]:
    if values.get("announce") and len(values.get("to", ())) > 1:
        yield Problem(at.below("announce").key, "there is more than one address to tell; allowed: false")


@attrs.frozen(kw_only=True)
class MailingList:
    """An address that sends each message on to its members."""

    address: Address = key(ADDRESS_HERE, "The address.", example="club")
    members: tuple[Address, ...] = key(
        ListOf(ADDRESS), "Who gets its mail, here or elsewhere.", example=["alice", "bob@elsewhere.example"]
    )
    owner: Address | None = key(
        ADDRESS_OR_NONE,
        "Who gets what comes back: mail to the list goes out with the reverse-path NAME-bounces, which "
        'leads to the owner. "": to postmaster.',
        default="",
    )


@attrs.frozen(kw_only=True)
class Moved:
    """An address that somebody had here."""

    address: Address = key(
        ADDRESS_HERE, "The address that is no more; mail for it is refused.", example="dora"
    )
    to: Address = key(
        ADDRESS, "The new one, which senders are told by 551.", example="dora@elsewhere.example"
    )


@attrs.frozen(kw_only=True)
class Config:
    """Everything that can be set."""

    hostname: str = key(
        DOMAIN, "The name of this server: in its greetings, in EHLO, in Received fields.", default="localhost"
    )
    data: Path = key(
        PATH, "Data directory. All persistent state is stored here.", default="/var/lib/mailserver"
    )
    domains: tuple[str, ...] = key(
        ListOf(DOMAIN),
        "The domains with mailboxes here. Default: hostname.",
        default=["localhost"],
        compute=lambda config: (config.hostname,),
    )
    allow_root: bool = key(
        Boolean(),
        "Whether to start as root without dropping privileges (in a container, to try things out).",
        default=False,
    )
    stop_grace: float = key(
        Duration(), "How long sessions may go on with a transaction when the server stops.", default="5s"
    )
    postmaster: Address | None = key(
        ADDRESS_OR_NONE,
        "Where mail for postmaster goes when no account, alias or list has that name; "
        '"": to the first account.',
        default="",
    )
    catch_all: Mapping[str, Address] = key(
        MapOf(DOMAIN_HERE, ADDRESS, f"a table from domains to addresses: {ADDRESS.allowed}"),
        "Where mail for all other names in a domain goes. Without an entry such names are refused. "
        'Such as { "example.org" = "alice" }.',
        default={},
    )
    listen: tuple[Listen, ...] = key(
        Tables(Table(Listen, _check_listen), may_be_empty=False),
        "One table for each port. Default: smtp on tcp:25 and pop3 on tcp:110.",
        default=[
            {"protocol": "smtp", "endpoint": "tcp:25"},
            {"protocol": "pop3", "endpoint": "tcp:110"},
        ],
    )
    tls: Tls | None = key(
        Table(Tls, check_tls),
        "The certificate. Without it there is no TLS.",
        default=None,
        compute=lambda config: None,
    )
    certificates: tuple[Certificate, ...] = key(
        Tables(Table(Certificate)),
        "Further certificates: each is for clients that ask for a name in it; that of [tls] is for all "
        "others (RFC 6066 section 3).",
        name="certificate",
        default=[],
    )
    storage: Storage = key(Table(Storage, check_storage), "Where mailboxes are kept.", default={})
    accounts: tuple[Account, ...] = key(
        Tables(Table(Account)),
        "One for each mailbox, with the name and the password to log in by.",
        name="account",
        default=[],
    )
    aliases: tuple[Alias, ...] = key(
        Tables(Table(Alias, _check_alias)), "Addresses that stand for others.", name="alias", default=[]
    )
    lists: tuple[MailingList, ...] = key(
        Tables(Table(MailingList)), "Mailing lists.", name="list", default=[]
    )
    moved: tuple[Moved, ...] = key(
        Tables(Table(Moved)), "People who have left, and where they are now.", default=[]
    )
    auth: Auth = key(Table(Auth), "Logging in.", default={})
    token: Token = key(
        Table(Token),
        "Logging in by a bearer token, for XOAUTH2 and OAUTHBEARER: a JSON Web Token (RFC 7519).",
        default={},
    )
    smtp: Smtp = key(Table(Smtp), "Taking mail in.", default={})
    submission: Submission = key(
        Table(Submission), "Taking in the mail of people with an account.", default={}
    )
    limits: Limits = key(Table(Limits), "Protection against too much at once.", default={})
    relay: Relay = key(Table(Relay), "Passing mail on.", default={})
    queue: Queue = key(Table(Queue), "Trying again.", default={})
    pop3: Pop3 = key(Table(Pop3), "Handing mail out.", default={})
    log: Log = key(Table(Log), "Telling what happens.", default={})


def _check_config(values: dict[str, Any], at: At) -> Iterator[Problem]:
    if values.get("postmaster") is None and values.get("accounts"):
        values["postmaster"] = values["accounts"][0].address
    if values.get("certificates") and not at.tls:
        text = "it needs a certificate for all other names; allowed: only with a [tls] section"
        yield Problem(at.below("certificate").key, text)
    tls = values.get("tls")
    # what is wrong with [tls] is told already
    knows_clients = tls.client_ca is not None if tls else at.tls
    if "auth" in values and "EXTERNAL" in values["auth"].mechanisms and not knows_clients:
        text = '"EXTERNAL" needs tls.client_ca; allowed: it with tls.client_ca, or the others'
        yield Problem(at.below("auth").below("mechanisms").key, text)


CONFIG = Table(Config, _check_config)
