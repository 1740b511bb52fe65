"""The sections [smtp] and [submission]."""

from typing import Literal, get_args

import attrs

from mailserver.config.keys.auth import PLAINTEXT_AUTH, PlaintextAuth
from mailserver.config.schema.scalars import Boolean, Choice, Duration, Integer, Size
from mailserver.config.schema.tables import key

BareNewline = Literal["reject", "normalize"]
Verify = Literal["never", "authenticated", "always"]
EarlyTalkers = Literal["log", "refuse"]
Senders = Literal["own", "any"]


@attrs.frozen(kw_only=True)
class SmtpSection:
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
        PLAINTEXT_AUTH,
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
class SubmissionSection:
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
