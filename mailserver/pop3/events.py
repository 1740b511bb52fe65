"""What a POP3 session tells its surroundings, and what it waits for.

Every event but OutputFull stops the session until its answer is given by the methods of
:class:`~mailserver.pop3.session.Session` that it names.
"""

from enum import Enum

import attrs


@attrs.frozen
class LoginTried:
    """PASS. Answer: ``logged_in`` or ``login_failed``."""

    user: str
    password: str = attrs.field(repr=False)


class LoginFailure(Enum):
    """Why a login did not succeed."""

    BAD_CREDENTIALS = "unknown user or wrong password, and nobody is told which"
    IN_USE = "another session holds the maildrop"
    TEMPORARY = "the accounts or the maildrop cannot be read for now"


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


Event = LoginTried | MessageWanted | Leaving | OutputFull
