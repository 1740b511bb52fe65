"""The sections of the configuration that steer one part of the server each; see ``model``."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import attrs

from mailserver.config.kinds import At, ListOf, MapOf, Secret
from mailserver.config.mail_kinds import (
    DATABASE_URL,
    DESTINATION,
    DESTINATION_OR_NONE,
    DOMAIN,
    NETWORK,
    Network,
)
from mailserver.config.problems import Problem
from mailserver.config.scalars import Boolean, Choice, Duration, Integer, Size
from mailserver.config.schema import key

Engine = Literal["maildir", "memory", "postgresql"]
BareNewline = Literal["reject", "normalize"]
Verify = Literal["never", "authenticated", "always"]
EarlyTalkers = Literal["log", "refuse"]
Senders = Literal["own", "any"]
LogFormat = Literal["text", "json"]
PlaintextAuth = bool | Literal["loopback"]

_PLAINTEXT_AUTH = Choice[PlaintextAuth]((False, "loopback", True))


@attrs.frozen(kw_only=True)
class Storage:
    """The engine that keeps the mailboxes."""

    engine: Engine = key(
        Choice[Engine](get_args(Engine)),
        "maildir keeps one file for each message below data; memory forgets everything at the end; "
        "postgresql lets several servers share the mailboxes.",
        default="maildir",
    )
    url: Secret | None = key(
        DATABASE_URL, "The database, for postgresql alone; it may hold a password.", default=""
    )
    reserve: int = key(
        Size("0"),
        "How much of the disk new mail leaves free, in octets: below it mail is refused for now, while "
        "reading and removing go on.",
        default=67108864,
    )
    quota: int = key(
        Size("0"),
        "How many octets a mailbox may hold unless its account says otherwise; 0: any number. Mail that "
        "would be more is refused.",
        default="20 GiB",
    )
    quota_messages: int = key(
        Integer(0),
        "How many messages a mailbox may hold unless its account says otherwise; 0: any number.",
        default=200_000,
    )


def check_storage(values: dict[str, Any], at: At) -> Iterator[Problem]:
    engine, below = values.get("engine"), at.below("url")
    if engine == "postgresql" and "url" in values and values["url"] is None:
        yield Problem(below.key, 'it is missing; allowed: the URL of the database, for engine "postgresql"')
    if engine in ("maildir", "memory") and values.get("url") is not None:
        yield Problem(
            below.key, f'it is of no use to engine "{engine}"; allowed: only with engine "postgresql"'
        )


@attrs.frozen(kw_only=True)
class Smtp:
    """What SMTP, submission and LMTP sessions may do."""

    max_message_size: int = key(
        Size("64 KiB"), "The largest message taken, in octets (RFC 1870).", default=52428800
    )
    max_line_length: int = key(
        Integer(0),
        "The longest line of a message, in octets with its line end; 0: any. RFC 5321 section 4.5.3.1.6 "
        "promises 1000, and many programs send more.",
        default=0,
    )
    max_recipients: int = key(
        Integer(100), "The most recipients of one message (RFC 5321 section 4.5.3.1.8).", default=1000
    )
    plaintext_auth: PlaintextAuth = key(
        _PLAINTEXT_AUTH,
        "Whether passwords may come over a connection without TLS: never, from this machine, always.",
        default=False,
    )
    bare_newline: BareNewline = key(
        Choice[BareNewline](get_args(BareNewline)),
        "A CR or an LF that stands alone, in a command or in a message, is a means of smuggling: refuse the "
        "command or the message, or make each such line end a CRLF.",
        default="reject",
    )
    verify: Verify = key(
        Choice[Verify](get_args(Verify)),
        "Who learns by VRFY and EXPN which addresses exist.",
        default="authenticated",
    )
    strict_syntax: bool = key(
        Boolean(),
        "Whether to refuse harmless slips, such as an address without angle brackets, that are common "
        "in scripts and books.",
        default=False,
    )
    hop_limit: int = key(
        Integer(1),
        "With this many Received fields a message is taken to go in circles (RFC 5321 section 6.3).",
        default=100,
    )
    max_errors: int = key(
        Integer(0),
        "With this many wrong commands since its last message a client is sent away; 0: never.",
        default=20,
    )
    transaction_timeout: float = key(
        Duration("1s"),
        "How long a client may take from MAIL to the end of the message, however busy it is.",
        default="2h",
    )
    command_timeout: float = key(
        Duration("1s"),
        "How long a client may take for a command, or for 16 KiB of a message; RFC 5321 section 4.5.3.2 "
        "wants at least five minutes.",
        default="5m",
    )
    greeting_delay: float = key(
        Duration(maximum="1m"),
        "Delay before the greeting. Clients that send before it are early talkers. RFC 5321 section "
        "4.5.3.2.1 has clients wait for five minutes.",
        default="0s",
    )
    early_talkers: EarlyTalkers = key(
        Choice[EarlyTalkers](get_args(EarlyTalkers)),
        "What to do with a client that sends before the greeting (RFC 5321 section 4.3.1): log it, or log "
        "and refuse it.",
        default="log",
    )


@attrs.frozen(kw_only=True)
class Submission:
    """What is different for mail that people hand in (RFC 6409)."""

    senders: Senders = key(
        Choice[Senders](get_args(Senders)),
        "Which addresses may be the sender (RFC 6409 section 6.1): the account's own, with its aliases and "
        "what catch_all leads to it; or any.",
        default="own",
    )
    hide_client: bool = key(
        Boolean(),
        "Whether Received fields leave out the name and the address of the client.",
        default=False,
    )
    remove_bcc: bool = key(
        Boolean(), "Whether Bcc fields are taken out of messages (RFC 5322 section 3.6.3).", default=False
    )


@attrs.frozen(kw_only=True)
class Relay:
    """Mail that goes elsewhere. ``smarthost`` is empty for delivery by MX; ``routes`` has domains,
    normalised, as its keys."""

    networks: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Clients that may send anywhere without logging in.",
        default=["127.0.0.0/8", "::1"],
    )
    smarthost: str = key(
        DESTINATION_OR_NONE, 'Where all mail for elsewhere goes; "": to each domain by its MX.', default=""
    )
    routes: Mapping[str, str] = key(
        MapOf(DOMAIN, DESTINATION, f"a table from domains to destinations: {DESTINATION.allowed}"),
        'Domains with a way of their own, such as { "example.net" = "lmtp:unix:/run/lmtp.sock" }.',
        default={},
    )


@attrs.frozen(kw_only=True)
class Queue:
    """Mail that could not go out at once."""

    retry: tuple[float, ...] = key(
        ListOf(Duration("1ms")),
        "The time from each attempt to the next; the last one is for all that follow.",
        default=["5m", "15m", "30m", "1h", "2h", "4h"],
    )
    warn_after: float = key(Duration(), "Send a delay notification after this time.", default="4h")
    expire_after: float = key(Duration("1ms"), "Give up and send a bounce after this time.", default="5d")


@attrs.frozen(kw_only=True)
class Pop3:
    """What POP3 sessions may do."""

    plaintext_auth: PlaintextAuth = key(
        _PLAINTEXT_AUTH,
        "Whether passwords may come over a connection without TLS: never, from this machine, always.",
        default=False,
    )
    login_delay: float = key(
        Duration(), "The least time between two logins to one mailbox (RFC 2449 section 6.5).", default="0s"
    )
    command_timeout: float = key(
        Duration("10m"),
        "How long a client may take for a command; RFC 1939 section 3 wants at least ten minutes.",
        default="11m",
    )


@attrs.frozen(kw_only=True)
class Log:
    """How the server tells what happens."""

    format: LogFormat = key(
        Choice[LogFormat](get_args(LogFormat)),
        "How each event is written, on one line: for people, or as a JSON object.",
        default="text",
    )
