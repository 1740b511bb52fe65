"""What a POP3 session tells its surroundings, and what it waits for.

Every event but CommandRefused and OutputFull stops the session until its answer is given by the methods of
:class:`~mailserver.pop3.session.Session` that it names.
"""

from enum import Enum

import attrs

from mailserver.sasl.steps import Question, Reason


@attrs.frozen
class TLSWanted:
    """STLS: send what ``take_output`` gives and begin TLS. Answer: ``secured``.

    ``discarded`` octets came behind the command in the clear and are gone.
    """

    discarded: int


@attrs.frozen
class LoginAsked:
    """AUTH by ``mechanism``, "USER" or "APOP". Answer: ``login_answered`` with what ``question`` wants."""

    mechanism: str
    question: Question


@attrs.frozen
class LoginRefused:
    """A login by ``mechanism`` has failed, under ``name`` if that was told. Answer: ``login_refused``,
    in time."""

    mechanism: str
    name: str
    reason: Reason


@attrs.frozen
class MaildropWanted:
    """``account`` has logged in. Answer: ``logged_in`` or ``not_opened``."""

    account: str


class Unopened(Enum):
    """Why a maildrop cannot be opened."""

    IN_USE = "another session holds the maildrop"
    TOO_SOON = "the last login to it was not long enough ago"
    TEMPORARY = "the maildrop cannot be read for now"


@attrs.frozen
class CommandRefused:
    """A command has been refused, and answered. No answer is needed.

    ``rule`` is the key of the configuration that decided, "" if the command was not understood;
    ``ended``: it was the end of the session.
    """

    reason: str
    rule: str = ""
    ended: bool = False


@attrs.frozen
class MessageWanted:
    """RETR, or TOP with its number of body lines. ``index`` counts from 0.

    Answer: ``send_text`` as often as needed, then ``end_text``; or ``text_failed``.
    """

    index: int
    lines: int | None


@attrs.frozen
class Leaving:
    """QUIT after a login: remove what is marked, let go of the maildrop. Answer: ``left``.

    ``marked`` has the indexes, from 0 and ascending; it may be empty.
    """

    marked: tuple[int, ...]


@attrs.frozen
class OutputFull:
    """Many replies are queued and more commands wait: send what ``take_output`` gives, then go on.

    No answer is needed. Without this a few pipelined LISTs could fill the memory.
    """


Awaited = TLSWanted | LoginAsked | LoginRefused | MaildropWanted | MessageWanted | Leaving
Event = Awaited | CommandRefused | OutputFull
