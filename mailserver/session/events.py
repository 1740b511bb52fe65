"""Events of all sessions: reports, and requests to the caller.

A session that has returned a :class:`SessionRequest` runs nothing more until ``LineSession.answer`` is called
with the answer. If there is no answer, ``LineSession.fail`` answers with :attr:`SessionRequest.failure`.
"""

import attrs

from mailserver.sasl.steps import Denied, Question, Reason


@attrs.frozen
class SessionRequest:
    """An event that needs an answer. Its subclass documents the type of the answer."""

    @property
    def failure(self) -> object:
        """The answer to use if the request cannot be handled."""
        return None


@attrs.frozen
class TLSWanted(SessionRequest):
    """STARTTLS or STLS: send what ``take_output`` returns, then begin TLS. Answer: the ``Channel``.

    ``discarded``: number of octets after the command that came without TLS and are dropped.
    """

    discarded: int


@attrs.frozen
class LoginAsked(SessionRequest):
    """A login by ``mechanism`` asks a ``question``. The class of the question documents the answer."""

    mechanism: str
    question: Question

    @property
    def failure(self) -> Denied:
        return Denied(Reason.TEMPORARY)


@attrs.frozen
class LoginRefused(SessionRequest):
    """A login by ``mechanism`` has failed. ``name`` is "" if the client gave none.

    Answer: None, when the reply may be sent.
    """

    mechanism: str
    name: str
    reason: Reason


@attrs.frozen
class CommandRefused:
    """A command was rejected. The reply is in the output.

    ``rule`` is the configuration key that decided, "" if the command itself was wrong. ``ended``: the
    rejection ended the session.
    """

    reason: str
    rule: str = ""
    ended: bool = False


@attrs.frozen
class OutputFull:
    """The output is large: send what ``take_output`` returns, then continue."""
