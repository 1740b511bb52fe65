"""The messages of a source, as values."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import attrs


@attrs.frozen
class SourceMessage:
    """One message.

    ``place`` names it for people. ``unique`` and ``fields`` (which begin with a comma, if there are any) are
    the base name that its file gets, and ``info`` the flags of the name, such as ":2,S". ``uid`` is the
    unique-id to keep, None to keep none. ``when`` is the time of its arrival in seconds since the epoch.
    ``key`` finds the message in a target that has it already.

    ``open`` opens it; the octets may be read as another user. It raises ``FileNotFoundError`` if the message
    is gone, other ``OSError``, and :class:`~mailserver.errors.StorageError`.
    """

    place: str
    unique: str
    fields: str
    info: str
    uid: str | None
    when: float
    open: Callable[[], "AbstractContextManager[Iterator[bytes]]"] = attrs.field(eq=False, repr=False)

    @property
    def key(self) -> str:
        return key_of(self.unique)


class MessageSource(Protocol):
    """A mailbox, or a folder of one. ``problems`` has a line for each thing that is not a message."""

    @property
    def problems(self) -> list[str]: ...

    def messages(self) -> Iterator[SourceMessage]:
        """The messages in order. Raises ``OSError`` and :class:`~mailserver.errors.StorageError`."""


MBOX_MARK = "P0.mbox-"


def key_of(unique: str) -> str:
    """What stays the same when a source is read again. In a name made for a message of an mbox it is the
    digest, as the number before it changes when messages are removed from the mbox."""
    return unique.partition(MBOX_MARK)[2] or unique
