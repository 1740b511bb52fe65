"""The section [storage]: where mailboxes are stored, and how large they may be."""

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
    """The engine that stores the mailboxes, and the limits of all mailboxes."""

    engine: Engine = key(
        Choice[Engine](get_args(Engine)),
        "Storage engine. maildir stores one file per message in the data directory. postgresql stores "
        "mailboxes, the queue and accounts in a database; it requires the extra mailserver[postgresql], and "
        "several servers may use one. memory loses all messages when the server stops.",
        default="maildir",
    )
    url: Secret | None = key(
        DATABASE_URL,
        "URL of the database, which may contain a password. It is for postgresql only.",
        default="",
    )
    reserve: int = key(
        Size("0"),
        "Minimum free disk space, in octets. Below it the server defers new mail; users can still read and "
        "delete messages.",
        default=67108864,
        note="64 MiB",
    )
    quota: int = key(
        Size("0"),
        "Maximum size of a mailbox, in octets; 0: no limit. Mail beyond it is rejected; for one of several "
        "recipients, or a member of a list, it is deferred. An account may have its own limit.",
        default="20 GiB",
    )
    quota_messages: int = key(
        Integer(0),
        "Maximum number of messages in a mailbox; 0: no limit. An account may have its own limit.",
        default=200_000,
    )


def check_storage(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    engine, below = values.get("engine"), context.below("url")
    if engine == "postgresql" and "url" in values and values["url"] is None:
        text = 'engine "postgresql" requires a URL; allowed: the URL of the database'
        yield KeyProblem(below.key, text)
    if engine in ("maildir", "memory") and values.get("url") is not None:
        text = f'engine "{engine}" has no URL; allowed: only with engine "postgresql"'
        yield KeyProblem(below.key, text)
