"""The events of a sending session.

Each :meth:`SenderSession.send` gets exactly one :class:`MailDone`, whatever happens. A session ends with
exactly one :class:`SessionClosed`.
"""

from enum import Enum

import attrs

from mailserver.mail.verdict import Status
from mailserver.smtp.sender.extensions import ServerExtensions
from mailserver.smtp.sender.replies import ServerReply


@attrs.frozen
class StartTLS:
    """The server has accepted STARTTLS: begin TLS, then call ``tls_started``."""


@attrs.frozen
class SessionReady:
    """The greeting, EHLO, STARTTLS and AUTH are done: the session can send mail.

    ``server`` is the first line of the greeting.
    """

    server: str
    extensions: ServerExtensions


@attrs.frozen
class ContentWanted:
    """The content may be written now, by ``write`` and ``end``.

    It may come before the replies to the envelope. The message may be decided while the content is written:
    then :class:`MailDone` comes, and the session ignores further writes.
    """


class Fate(Enum):
    """The result of a transaction for one recipient."""

    ACCEPTED = "the server has accepted responsibility for the message"
    REJECTED = "the message cannot be sent to this recipient"
    DEFERRED = "the message cannot be sent to this recipient now"
    UNTRIED = "nothing is decided; surely not accepted; another transaction may try again at once"
    UNCERTAIN = "the whole message was sent, but the reply is lost: it may have been accepted"


@attrs.frozen
class RecipientResult:
    """The result for one recipient.

    ``status`` is the subject and detail of the reply's enhanced status code, or those of the session itself;
    the fate gives the class. ``text`` describes a result other than ``ACCEPTED`` for people. ``reply`` is the
    reply that decided, None if the session decided without asking the server. ``reports``: the server has
    accepted the DSN parameters, so it sends the reports that they ask for (RFC 3461). ``deadline``: it knows
    deadlines (RFC 2852).
    """

    fate: Fate
    status: Status
    text: str = ""
    reply: ServerReply | None = None
    reports: bool = False
    deadline: bool = False


@attrs.frozen
class MailDone:
    """The transaction is over. ``results`` are in the order of the recipients of the message.

    If the session still lives, it is ready for the next message.
    """

    results: tuple[RecipientResult, ...]


class CloseCause(Enum):
    """Why a session has ended."""

    QUIT = "the session has ended by QUIT"
    LOST = "the connection is lost"
    REFUSED = "the server has ended the session, or refuses it"
    PROTOCOL = "the server has violated the protocol"
    NO_TLS = "TLS is required but not available"
    NO_LOGIN = "the login is impossible or has failed"
    ABANDONED = "the message was abandoned, and only the end of the connection could stop it"


@attrs.frozen
class SessionClosed:
    """The session has ended: send what ``take_output`` returns, then close the connection.

    ``text`` describes it for people. ``reply`` is the reply that decided, None if there is none.
    """

    cause: CloseCause
    text: str
    reply: ServerReply | None = None


SenderEvent = StartTLS | SessionReady | ContentWanted | MailDone | SessionClosed
