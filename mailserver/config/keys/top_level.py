"""The keys above all sections, and all sections in their order: the whole configuration."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from mailserver.config.keys.addresses import (
    AccountSection,
    AliasSection,
    ListSection,
    MovedSection,
    check_alias,
)
from mailserver.config.keys.auth import AuthSection, TokenSection
from mailserver.config.keys.limits import LimitsSection
from mailserver.config.keys.listen import ListenSection, check_listen
from mailserver.config.keys.log import LogSection
from mailserver.config.keys.pop3 import Pop3Section
from mailserver.config.keys.queue import QueueSection
from mailserver.config.keys.relay import RelaySection
from mailserver.config.keys.smtp import SmtpSection, SubmissionSection
from mailserver.config.keys.storage import StorageSection, check_storage
from mailserver.config.keys.tls import CertificateSection, TlsSection, check_tls
from mailserver.config.schema.kinds import Context, ListOf, MapOf
from mailserver.config.schema.mail_kinds import ADDRESS, ADDRESS_OR_NONE, DOMAIN, DOMAIN_HERE, PATH
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Boolean, Duration
from mailserver.config.schema.tables import Table, Tables, key
from mailserver.mail.address import Address


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
    listen: tuple[ListenSection, ...] = key(
        Tables(Table(ListenSection, check_listen), may_be_empty=False),
        "One table for each port. Default: smtp on tcp:25 and pop3 on tcp:110.",
        default=[
            {"protocol": "smtp", "endpoint": "tcp:25"},
            {"protocol": "pop3", "endpoint": "tcp:110"},
        ],
    )
    tls: TlsSection | None = key(
        Table(TlsSection, check_tls),
        "The certificate. Without it there is no TLS.",
        default=None,
        compute=lambda config: None,
    )
    certificates: tuple[CertificateSection, ...] = key(
        Tables(Table(CertificateSection)),
        "Further certificates: each is for clients that ask for a name in it; that of [tls] is for all "
        "others (RFC 6066 section 3).",
        name="certificate",
        default=[],
    )
    storage: StorageSection = key(
        Table(StorageSection, check_storage), "Where mailboxes are kept.", default={}
    )
    accounts: tuple[AccountSection, ...] = key(
        Tables(Table(AccountSection)),
        "One for each mailbox, with the name and the password to log in by.",
        name="account",
        default=[],
    )
    aliases: tuple[AliasSection, ...] = key(
        Tables(Table(AliasSection, check_alias)), "Addresses that stand for others.", name="alias", default=[]
    )
    lists: tuple[ListSection, ...] = key(
        Tables(Table(ListSection)), "Mailing lists.", name="list", default=[]
    )
    moved: tuple[MovedSection, ...] = key(
        Tables(Table(MovedSection)), "People who have left, and where they are now.", default=[]
    )
    auth: AuthSection = key(Table(AuthSection), "Logging in.", default={})
    token: TokenSection = key(
        Table(TokenSection),
        "Logging in by a bearer token, for XOAUTH2 and OAUTHBEARER: a JSON Web Token (RFC 7519).",
        default={},
    )
    smtp: SmtpSection = key(Table(SmtpSection), "Taking mail in.", default={})
    submission: SubmissionSection = key(
        Table(SubmissionSection), "Taking in the mail of people with an account.", default={}
    )
    limits: LimitsSection = key(Table(LimitsSection), "Protection against too much at once.", default={})
    relay: RelaySection = key(Table(RelaySection), "Passing mail on.", default={})
    queue: QueueSection = key(Table(QueueSection), "Trying again.", default={})
    pop3: Pop3Section = key(Table(Pop3Section), "Handing mail out.", default={})
    log: LogSection = key(Table(LogSection), "Telling what happens.", default={})


def _check_config(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    if values.get("postmaster") is None and values.get("accounts"):
        values["postmaster"] = values["accounts"][0].address
    if values.get("certificates") and not context.tls:
        text = "it needs a certificate for all other names; allowed: only with a [tls] section"
        yield KeyProblem(context.below("certificate").key, text)
    tls = values.get("tls")
    # what is wrong with [tls] is told already
    knows_clients = tls.client_ca is not None if tls else context.tls
    if "auth" in values and "EXTERNAL" in values["auth"].mechanisms and not knows_clients:
        text = '"EXTERNAL" needs tls.client_ca; allowed: it with tls.client_ca, or the others'
        yield KeyProblem(context.below("auth").below("mechanisms").key, text)


CONFIG = Table(Config, _check_config)
