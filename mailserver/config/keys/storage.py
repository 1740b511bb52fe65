"""The section [storage]."""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs

from mailserver.config.schema.kinds import Context, Secret
from mailserver.config.schema.mail_kinds import DATABASE_URL
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Choice, Integer, Size
from mailserver.config.schema.tables import key

Engine = Literal["maildir", "memory", "postgresql"]


@attrs.frozen(kw_only=True)
class StorageSection:
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


def check_storage(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    engine, below = values.get("engine"), context.below("url")
    if engine == "postgresql" and "url" in values and values["url"] is None:
        yield KeyProblem(
            below.key, 'it is missing; allowed: the URL of the database, for engine "postgresql"'
        )
    if engine in ("maildir", "memory") and values.get("url") is not None:
        yield KeyProblem(
            below.key, f'it is of no use to engine "{engine}"; allowed: only with engine "postgresql"'
        )
