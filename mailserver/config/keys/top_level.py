"""The keys above all sections, and all sections in their order: the whole configuration."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from mailserver.config.keys.addresses import (
    AccountSection,
    AliasSection,
    ListSection,
    MovedSection,
    check_alias,
)
from mailserver.config.keys.alerts import AlertsSection
from mailserver.config.keys.auth import AuthSection, TokenSection
from mailserver.config.keys.dkim import DkimSection, check_dkim
from mailserver.config.keys.dns import DnsSection
from mailserver.config.keys.forward import ForwardSection
from mailserver.config.keys.limits import LimitsSection
from mailserver.config.keys.listen import ListenSection, check_listen
from mailserver.config.keys.log import LogSection, check_log
from mailserver.config.keys.policy import DnsblSection, PolicySection
from mailserver.config.keys.pop3 import Pop3Section
from mailserver.config.keys.quarantine import QuarantineSection
from mailserver.config.keys.queue import QueueSection
from mailserver.config.keys.relay import RelaySection, ThrottleSection, check_relay, check_throttle
from mailserver.config.keys.smtp import SmtpSection, SubmissionSection, check_smtp
from mailserver.config.keys.storage import StorageSection, check_storage
from mailserver.config.keys.tls import CertificateSection, TlsSection, check_tls
from mailserver.config.keys.web import WebSection, check_web
from mailserver.config.schema.kinds import Context, ListOf, MapOf
from mailserver.config.schema.mail_kinds import ADDRESS, ADDRESS_OR_NONE, DOMAIN, DOMAIN_HERE, FOLDER
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Boolean, Duration, Workers
from mailserver.config.schema.tables import Table, Tables, key
from mailserver.mail.address import Address


@attrs.frozen(kw_only=True)
class Config:
    """The whole configuration."""

    hostname: str = key(
        DOMAIN,
        "Name of this server, for greetings, EHLO and Received fields.",
        default="localhost",
        example="mail.example.org",
    )
    data: Path = key(
        FOLDER, "Data directory. All persistent state is stored here.", default="/var/lib/mailserver"
    )
    domains: tuple[str, ...] = key(
        ListOf(DOMAIN),
        "Domains that have mailboxes on this server.",
        note="the hostname",
        example=["example.org"],
        compute=lambda config: (config.hostname,),
    )
    allow_root: bool = key(
        Boolean(),
        "Permission for the server to run as root, in a container or for a first try.",
        default=False,
    )
    stop_grace: float = key(
        Duration(),
        "Time that sessions have to finish their transactions when the server stops.",
        default="5s",
    )
    workers: int | Literal["auto"] = key(
        Workers(),
        'Number of processes that serve clients; "auto" is one for each processor above the first, and at '
        "least one. docs/workers.md explains them.",
        default="auto",
    )
    postmaster: Address | None = key(
        ADDRESS_OR_NONE,
        "Address that receives the mail for postmaster if no account, alias or list has that name.",
        default="",
        note="the first account",
        example="alice",
    )
    catch_all: Mapping[str, Address] = key(
        MapOf(DOMAIN_HERE, ADDRESS, f"a table from domains to addresses: {ADDRESS.allowed}"),
        "Addresses that receive the mail for all unknown names in a domain. In a domain without an entry, "
        "unknown names are rejected.",
        default={},
        example={"example.org": "alice"},
    )
    listen: tuple[ListenSection, ...] = key(
        Tables(Table(ListenSection, check_listen), may_be_empty=False),
        "Listeners, one section each.",
        default=[
            {"protocol": "smtp", "endpoint": "tcp:25"},
            {"protocol": "pop3", "endpoint": "tcp:110"},
        ],
        note="smtp on tcp:25 and pop3 on tcp:110",
    )
    tls: TlsSection | None = key(
        Table(TlsSection, check_tls),
        "Main certificate. Without this section the server has no TLS.",
        default=None,
        compute=lambda config: None,
    )
    certificates: tuple[CertificateSection, ...] = key(
        Tables(Table(CertificateSection)),
        "Further certificates, for clients that ask for one of their names by SNI (RFC 6066 section 3). All "
        "other clients get the one of [tls].",
        name="certificate",
        default=[],
    )
    storage: StorageSection = key(Table(StorageSection, check_storage), "Storage of mailboxes.", default={})
    accounts: tuple[AccountSection, ...] = key(
        Tables(Table(AccountSection)),
        "Accounts, one section each. Every account has a mailbox.",
        name="account",
        default=[],
    )
    aliases: tuple[AliasSection, ...] = key(
        Tables(Table(AliasSection, check_alias)),
        "Aliases: addresses that stand for other addresses.",
        name="alias",
        default=[],
    )
    lists: tuple[ListSection, ...] = key(
        Tables(Table(ListSection)),
        "Mailing lists: addresses that send each message to all members.",
        name="list",
        default=[],
    )
    moved: tuple[MovedSection, ...] = key(
        Tables(Table(MovedSection)), "Old addresses of people who have moved.", default=[]
    )
    auth: AuthSection = key(Table(AuthSection), "Authentication.", default={})
    token: TokenSection = key(
        Table(TokenSection),
        "Bearer tokens of XOAUTH2 and OAUTHBEARER, which are JSON Web Tokens (RFC 7519).",
        default={},
    )
    smtp: SmtpSection = key(
        Table(SmtpSection, check_smtp), "SMTP sessions, also those of submission.", default={}
    )
    submission: SubmissionSection = key(
        Table(SubmissionSection), "Mail from users of this server (RFC 6409).", default={}
    )
    limits: LimitsSection = key(
        Table(LimitsSection),
        'Limits of clients, against overload and abuse. A rate such as "100/1h" allows 100 in an hour.',
        default={},
    )
    relay: RelaySection = key(
        Table(RelaySection, check_relay),
        "Mail for other servers: who may send it, and where it goes.",
        default={},
    )
    forward: ForwardSection = key(
        Table(ForwardSection), "Mail that an alias forwards to another server.", default={}
    )
    alerts: AlertsSection = key(Table(AlertsSection), "Alerts to the administrator.", default={})
    throttle: tuple[ThrottleSection, ...] = key(
        Tables(Table(ThrottleSection)),
        "Limits for the mail to single domains or providers, whose servers defer mail that arrives too fast. "
        "One section each.",
        default=[],
    )
    dns: DnsSection = key(Table(DnsSection), "DNS resolvers, for mail to other servers.", default={})
    dkim: tuple[DkimSection, ...] = key(
        Tables(Table(DkimSection)),
        "Keys that sign outgoing mail by DKIM (RFC 6376), one section each. `mailserver dkim` makes them.",
        default=[],
    )
    policy: PolicySection = key(
        Table(PolicySection),
        "Checks of mail from other servers; docs/protection.md explains them.",
        default={},
    )
    dnsbl: tuple[DnsblSection, ...] = key(
        Tables(Table(DnsblSection)),
        "Lists of client addresses in DNS (DNSBL and DNSWL), one section each.",
        default=[],
    )
    quarantine: QuarantineSection = key(
        Table(QuarantineSection),
        "The quarantine: messages that DMARC or a mail filter keeps aside. `mailserver quarantine` shows and "
        "releases them.",
        default={},
    )
    queue: QueueSection = key(Table(QueueSection), "Retries of deferred mail.", default={})
    pop3: Pop3Section = key(Table(Pop3Section), "POP3 sessions.", default={})
    web: WebSection = key(Table(WebSection), "The HTTP API; docs/web.md explains it.", default={})
    log: LogSection = key(Table(LogSection, check_log), "Log output.", default={})


def _check_config(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    if values.get("postmaster") is None and values.get("accounts"):
        values["postmaster"] = values["accounts"][0].address
    if values.get("certificates") and not context.tls:
        text = "a further certificate requires a main one; allowed: only with a [tls] section"
        yield KeyProblem(context.below("certificate").key, text)
    yield from _check_workers(values, context)
    yield from check_throttle(values.get("throttle", ()), context.below("throttle"))
    yield from check_web(values.get("web"), values.get("listen", ()), context.below("web"))
    yield from check_dkim(values.get("dkim", ()), context.below("dkim"))
    tls = values.get("tls")
    # Problems of [tls] itself are reported already.
    knows_clients = tls.client_ca is not None if tls else context.tls
    if "auth" in values and "EXTERNAL" in values["auth"].mechanisms and not knows_clients:
        text = '"EXTERNAL" requires tls.client_ca; allowed: other mechanisms, or EXTERNAL with tls.client_ca'
        yield KeyProblem(context.below("auth").below("mechanisms").key, text)


def _check_workers(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    count = values.get("workers")
    if not isinstance(count, int) or count == 1:
        return
    allowed = 'allowed: 1, or "auto", which is 1 then'
    engine = values["storage"].engine if "storage" in values else "maildir"
    if engine != "maildir":
        yield KeyProblem("workers", f'several workers cannot share storage.engine = "{engine}"; {allowed}')
    if "relay" in values and values["relay"].atrn:
        yield KeyProblem("workers", f"several workers cannot serve relay.atrn; {allowed}")


CONFIG = Table(Config, _check_config)
