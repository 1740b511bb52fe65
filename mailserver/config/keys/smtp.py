"""The sections [smtp] and [submission]: how the server accepts mail."""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs

from mailserver.config.keys.auth import PLAINTEXT_AUTH, PLAINTEXT_AUTH_DOC, PlaintextAuth
from mailserver.config.schema.kinds import Context, ListOf
from mailserver.config.schema.mail_kinds import NETWORK, SOLICITATION, Network
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Boolean, Choice, Duration, Integer, Size
from mailserver.config.schema.tables import key

MAX_CLASSES = 400  # characters: they are one line of the reply to EHLO

BareNewline = Literal["reject", "normalize"]
Verify = Literal["never", "authenticated", "always"]
EarlyTalkers = Literal["log", "refuse"]
Senders = Literal["own", "any"]


@attrs.frozen(kw_only=True)
class SmtpSection:
    """The options of SMTP and submission sessions."""

    max_message_size: int = key(
        Size("64 KiB"),
        "Maximum size of a message, in octets (RFC 1870).",
        default=52428800,
        note="50 MiB",
    )
    max_line_length: int = key(
        Integer(0),
        "Maximum length of a message line, in octets with its CRLF; 0: no limit. RFC 5321 section "
        "4.5.3.1.6 allows 1000; many programs send longer lines.",
        default=0,
    )
    max_recipients: int = key(
        Integer(100),
        "Maximum number of recipients of one message (RFC 5321 section 4.5.3.1.8).",
        default=1000,
    )
    max_recipient_domains: int = key(
        Integer(0),
        "Maximum number of different domains among the recipients of one session; 0: no limit. EHLO "
        "announces this limit, and those on recipients and messages (RFC 9422).",
        default=0,
    )
    max_messages: int = key(Integer(0), "Maximum number of messages in one session; 0: no limit.", default=0)
    plaintext_auth: PlaintextAuth = key(PLAINTEXT_AUTH, PLAINTEXT_AUTH_DOC, default=False)
    old_auth_line: bool = key(
        Boolean(),
        'Addition of the line "AUTH=" with the mechanisms to the reply to EHLO. Some old clients, such as '
        "Outlook Express 4, look for it.",
        default=False,
    )
    bare_newline: BareNewline = key(
        Choice[BareNewline](get_args(BareNewline)),
        "Treatment of a bare CR or LF, in a command or in a message. SMTP smuggling uses them. reject "
        "rejects the command or the message; normalize turns a bare LF into CRLF and a bare CR into a space.",
        default="reject",
    )
    verify: Verify = key(
        Choice[Verify](get_args(Verify)),
        "Clients that get answers to VRFY and EXPN: none (never), clients that have logged in "
        "(authenticated), or all (always). Other clients get the noncommittal reply 252.",
        default="authenticated",
    )
    strict_syntax: bool = key(
        Boolean(),
        "Rejection of harmless mistakes that are common in scripts and books, such as an address without "
        "angle brackets.",
        default=False,
    )
    hop_limit: int = key(
        Integer(1),
        "Number of Received fields that makes the server reject a message as a mail loop (RFC 5321 section "
        "6.3).",
        default=100,
    )
    max_errors: int = key(
        Integer(0),
        "Number of wrong commands since the last message that closes a connection; 0: no limit.",
        default=20,
    )
    transaction_timeout: float = key(
        Duration("1s"),
        "Time limit for a transaction, from MAIL to the end of the message.",
        default="2h",
    )
    command_timeout: float = key(
        Duration("1s"),
        "Time limit for a command, and for each 16 KiB of a message. RFC 5321 section 4.5.3.2 requires at "
        "least five minutes.",
        default="5m",
    )
    greeting_delay: float = key(
        Duration(maximum="1m"),
        "Delay before the greeting. Clients that send before it are early talkers. Other clients wait for it "
        "at least five minutes (RFC 5321 section 4.5.3.2.1).",
        default="0s",
    )
    early_talkers: EarlyTalkers = key(
        Choice[EarlyTalkers](get_args(EarlyTalkers)),
        "Treatment of clients that send before the greeting (RFC 5321 section 4.3.1): log only logs them, "
        "refuse also rejects them.",
        default="log",
    )
    no_soliciting: tuple[str, ...] = key(
        ListOf(SOLICITATION, may_be_empty=True, distinct=True),
        "Classes of solicitation that the server rejects (RFC 3865). EHLO announces them; a message that "
        "names one of them with SOLICIT is rejected.",
        default=[],
        example=["org.example:ADV"],
    )
    xclient_networks: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Networks of trusted proxies that may name the client they speak for, by the command XCLIENT of "
        "Postfix. That client counts in place of the proxy in every respect. A proxy on a unix socket "
        "cannot use it.",
        default=[],
        example=["192.0.2.10"],
    )
    xforward_networks: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Networks of trusted filters that may name the client a message came from, by the command XFORWARD "
        "of Postfix. The name is for the log only. A filter on a unix socket cannot use it.",
        default=[],
        example=["192.0.2.10"],
    )


def check_smtp(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    octets = len(",".join(values.get("no_soliciting", ())))
    if octets > MAX_CLASSES:
        text = f"the classes have {octets} characters together; allowed: at most {MAX_CLASSES}"
        yield KeyProblem(context.below("no_soliciting").key, text)


@attrs.frozen(kw_only=True)
class SubmissionSection:
    """Options for mail from users of this server."""

    senders: Senders = key(
        Choice[Senders](get_args(Senders)),
        "Sender addresses that an account may use (RFC 6409 section 6.1): its own addresses, with its "
        "aliases and what catch_all delivers to it (own), or any address (any).",
        default="own",
    )
    hide_client: bool = key(
        Boolean(),
        "Removal of the client's name and address from the Received field.",
        default=False,
    )
    remove_bcc: bool = key(
        Boolean(), "Removal of Bcc fields from messages (RFC 5322 section 3.6.3).", default=False
    )
