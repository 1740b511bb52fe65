"""Events of all sessions: what a session reports, and what it asks.

A session that has returned a :class:`SessionRequest` runs nothing more until ``LineSession.answer`` is called
with the answer. If there is no answer, ``LineSession.fail`` answers with :attr:`SessionRequest.failure`.
"""

import attrs

from mailserver.sasl.steps import Denied, Question, Reason


@attrs.frozen
class SessionRequest:
    """An event that needs an answer. Its class says which type the answer has."""

    @property
    def failure(self) -> object:
        """The answer if the request could not be handled."""
        return None


@attrs.frozen
class TLSWanted(SessionRequest):
    """STARTTLS or STLS: send what ``take_output`` returns, then begin TLS. Answer: the ``Channel``.

    ``discarded``: number of octets that followed the command in the clear. They are dropped.
    """

    discarded: int


@attrs.frozen
class LoginAsked(SessionRequest):
    """A login by ``mechanism`` has a ``question``, which says what its answer is."""

    mechanism: str
    question: Question

    @property
    def failure(self) -> Denied:
        return Denied(Reason.TEMPORARY)


@attrs.frozen
class LoginRefused(SessionRequest):
    """A login by ``mechanism`` has failed; ``name`` is "" if the client gave none.

    Answer: None, as soon as the client may read the refusal.
    """

    mechanism: str
    name: str
    reason: Reason


@attrs.frozen
class CommandRefused:
    """A command was refused, and the reply is queued.

    ``rule`` is the configuration key that decided, "" if the command itself was wrong. ``ended``: the refusal
    ended the session.
    """

    reason: str
    rule: str = ""
    ended: bool = False


@attrs.frozen
class OutputFull:
    """Many replies are queued: send what ``take_output`` returns, then go on."""
