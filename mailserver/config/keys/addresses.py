"""The sections [[account]], [[alias]], [[list]] and [[moved]]: the addresses of this server."""

from collections.abc import Iterator
from typing import Any

import attrs

from mailserver.config.schema.kinds import Context, ListOf, Secret
from mailserver.config.schema.mail_kinds import (
    ADDRESS,
    ADDRESS_HERE,
    ADDRESS_OR_NONE,
    MAILBOX_HERE,
    PASSWORD,
)
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Boolean, Integer, RetentionOf, Size
from mailserver.config.schema.tables import key
from mailserver.mail.address import Address
from mailserver.mail.retention import Retention


@attrs.frozen(kw_only=True)
class AccountSection:
    """An account with a mailbox. A value that is None is that of [storage] or [pop3]."""

    address: Address = key(
        MAILBOX_HERE, "Address of the account, which is also its login name.", example="alice"
    )
    password: Secret = key(
        PASSWORD,
        "Password, or a hash of it; `mailserver passwd` prints one. Write a plain password that begins with "
        '"{", or that looks like a hash, as "{PLAIN}…". "{NONE}" rejects all passwords; other ways to log in '
        "still work.",
        example="secret",
    )
    quota: int | None = key(
        Size("0"),
        "Maximum size of this mailbox, in octets; 0: no limit.",
        note="the value of storage.quota",
        example="50 GiB",
        compute=lambda account: None,
    )
    quota_messages: int | None = key(
        Integer(0),
        "Maximum number of messages in this mailbox; 0: no limit.",
        note="the value of storage.quota_messages",
        example=500_000,
        compute=lambda account: None,
    )
    expire: Retention | None = key(
        RetentionOf(),
        "Time after which messages are removed from this mailbox.",
        note="the value of pop3.expire",
        example="90d",
        compute=lambda account: None,
    )


@attrs.frozen(kw_only=True)
class AliasSection:
    """An address that stands for other addresses."""

    address: Address = key(ADDRESS_HERE, "Address of the alias.", example="sales")
    to: tuple[Address, ...] = key(
        ListOf(ADDRESS),
        "Addresses that receive its mail, here or on other servers.",
        example=["alice", "bob"],
    )
    announce: bool = key(
        Boolean(),
        "Announcement of the target to senders, by reply 251 (RFC 5321 section 3.4). The alias must have a "
        "single target.",
        default=False,
    )


def check_alias(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    if values.get("announce") and len(values.get("to", ())) > 1:
        text = "an alias with several addresses cannot announce one; allowed: false"
        yield KeyProblem(context.below("announce").key, text)


@attrs.frozen(kw_only=True)
class ListSection:
    """A mailing list: an address that sends each message to all members."""

    address: Address = key(ADDRESS_HERE, "Address of the mailing list.", example="club")
    members: tuple[Address, ...] = key(
        ListOf(ADDRESS),
        "Addresses of the members, here or on other servers.",
        example=["alice", "bob"],
    )
    owner: Address | None = key(
        ADDRESS_OR_NONE,
        "Address that receives bounces of the list. Mail to the list has the reverse-path NAME-bounces, "
        "which is delivered to the owner.",
        default="",
        note="postmaster",
        example="alice",
    )
    verp: bool = key(
        Boolean(),
        "Own reverse-path for each member on another server, NAME-bounces+USER=DOMAIN (VERP). So a bounce "
        "tells by its address which member did not get the message. The owner gets it, with this address in "
        "Delivered-To.",
        default=False,
    )
    from_rewrite: bool = key(
        Boolean(),
        "Rewriting of From to the address of the list, with Reply-To, for authors whose domain publishes a "
        "strict DMARC policy. No effect yet.",
        default=True,
    )


@attrs.frozen(kw_only=True)
class MovedSection:
    """The old address of a user who has moved."""

    address: Address = key(ADDRESS_HERE, "Old address. Mail for it is rejected.", example="dora")
    to: Address = key(
        ADDRESS, "New address, which reply 551 reports to senders.", example="dora@elsewhere.example"
    )
