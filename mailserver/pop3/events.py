"""Events of a POP3 session. The docstring of a request names the type of its answer."""

from enum import Enum

import attrs

from mailserver.session.events import CommandRefused as CommandRefused
from mailserver.session.events import LoginAsked, LoginRefused, SessionRequest
from mailserver.session.events import OutputFull as OutputFull
from mailserver.session.events import TLSWanted as TLSWanted


class OpenFailure(Enum):
    """Why a maildrop cannot be opened."""

    IN_USE = "another session holds the maildrop"
    TOO_SOON = "the last login to it was not long enough ago"
    TEMPORARY = "the maildrop cannot be read for now"
    PERMANENT = "the maildrop cannot be read until somebody mends it"


class ReadFailure(Enum):
    """Why a message cannot be read."""

    REMOVED = "another program has removed it"
    TEMPORARY = "its content cannot be read for now"
    PERMANENT = "its content cannot be read until somebody mends it"


@attrs.frozen
class MaildropWanted(SessionRequest):
    """``account`` has logged in. Answer: the ``Snapshot`` of its locked maildrop, or OpenFailure."""

    account: str

    @property
    def failure(self) -> OpenFailure:
        return OpenFailure.TEMPORARY


@attrs.frozen
class MessageWanted(SessionRequest):
    """RETR, or TOP with its number of body lines. ``index`` counts from 0. Answer: bytes, or ReadFailure.

    A long message may come in parts: give each one to ``POP3Session.send_text``. The answer is the last part,
    which may be empty.
    """

    index: int
    lines: int | None

    @property
    def failure(self) -> ReadFailure:
        return ReadFailure.TEMPORARY


@attrs.frozen
class UpdateWanted(SessionRequest):
    """QUIT after a login: remove the marked messages, then release the maildrop.

    ``marked``: indexes from 0, ascending, may be empty. Answer: the frozenset of the indexes that remain.
    """

    marked: tuple[int, ...]

    @property
    def failure(self) -> frozenset[int]:
        return frozenset(self.marked)


POP3Event = (
    TLSWanted
    | LoginAsked
    | LoginRefused
    | MaildropWanted
    | MessageWanted
    | UpdateWanted
    | CommandRefused
    | OutputFull
)
