"""The sections [[account]], [[alias]], [[list]] and [[moved]]: the addresses of this server."""

from collections.abc import Iterator
from typing import Any

import attrs

from mailserver.config.schema.kinds import Context, ListOf, Secret
from mailserver.config.schema.mail_kinds import ADDRESS, ADDRESS_HERE, ADDRESS_OR_NONE, MAILBOX_HERE, PASSWORD
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Boolean, Integer, Size
from mailserver.config.schema.tables import key
from mailserver.mail.address import Address


@attrs.frozen(kw_only=True)
class AccountSection:
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
class AliasSection:
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


def check_alias(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    if values.get("announce") and len(values.get("to", ())) > 1:
        yield KeyProblem(
            context.below("announce").key, "there is more than one address to tell; allowed: false"
        )


@attrs.frozen(kw_only=True)
class ListSection:
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
class MovedSection:
    """An address that somebody had here."""

    address: Address = key(
        ADDRESS_HERE, "The address that is no more; mail for it is refused.", example="dora"
    )
    to: Address = key(
        ADDRESS, "The new one, which senders are told by 551.", example="dora@elsewhere.example"
    )
