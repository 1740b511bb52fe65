"""The states of a sending session. The table of transitions is the only authority on them."""

from collections.abc import Mapping
from enum import Enum

from mailserver.session.verbs import SessionState


class SenderState(SessionState):
    """The state of a session."""

    GREETING = "the greeting is awaited"
    HELLO = "the reply to EHLO, LHLO or HELO is awaited"
    STARTTLS = "the reply to STARTTLS is awaited"
    HANDSHAKE = "the caller begins TLS"
    LOGIN = "a login is under way"
    IDLE = "between messages"
    ENVELOPE = "the replies to the envelope are awaited"
    CONTENT = "the caller writes the content"
    ENDING = "no more content follows; the last replies are awaited"
    LEAVING = "the reply to QUIT is awaited"
    CLOSED = "the session is over"


class Trigger(Enum):
    """The causes of transitions: calls of the caller, and meanings of replies."""

    __hash__ = object.__hash__

    GREETED = "the greeting is positive"
    HELLO_REJECTED = "the server does not know EHLO"
    TLS_CHOSEN = "STARTTLS is sent"
    TLS_ACCEPTED = "the server begins TLS"
    TLS_STARTED = "the caller has begun TLS"
    LOGIN_CHOSEN = "AUTH is sent"
    CHALLENGED = "the login needs another response"
    READY = "mail can be sent"
    MAIL_BEGUN = "the envelope is sent"
    CONTENT_WANTED = "the content can be sent"
    CONTENT_ENDED = "all content is sent"
    CONTENT_STOPPED = "the server does not want the content, or no more of it"
    DECIDED = "the message is accepted, rejected or given up"
    QUIT = "QUIT is sent"
    CLOSED = "the session ends"


_S, _T = SenderState, Trigger

_TRANSITIONS: Mapping[SenderState, Mapping[Trigger, SenderState]] = {
    _S.GREETING: {_T.TLS_STARTED: _S.GREETING, _T.GREETED: _S.HELLO},
    _S.HELLO: {
        _T.HELLO_REJECTED: _S.HELLO,
        _T.TLS_CHOSEN: _S.STARTTLS,
        _T.LOGIN_CHOSEN: _S.LOGIN,
        _T.READY: _S.IDLE,
    },
    _S.STARTTLS: {_T.TLS_ACCEPTED: _S.HANDSHAKE, _T.LOGIN_CHOSEN: _S.LOGIN, _T.READY: _S.IDLE},
    _S.HANDSHAKE: {_T.TLS_STARTED: _S.HELLO},
    _S.LOGIN: {_T.CHALLENGED: _S.LOGIN, _T.LOGIN_CHOSEN: _S.LOGIN, _T.READY: _S.IDLE},
    _S.IDLE: {_T.MAIL_BEGUN: _S.ENVELOPE, _T.QUIT: _S.LEAVING},
    _S.ENVELOPE: {
        _T.CONTENT_WANTED: _S.CONTENT,
        _T.CONTENT_ENDED: _S.ENDING,
        _T.DECIDED: _S.IDLE,
    },
    _S.CONTENT: {
        _T.CONTENT_ENDED: _S.ENDING,
        _T.CONTENT_STOPPED: _S.ENDING,
        _T.DECIDED: _S.IDLE,
    },
    _S.ENDING: {_T.DECIDED: _S.IDLE},
    _S.LEAVING: {},
    _S.CLOSED: {},
}


def next_state(state: SenderState, trigger: Trigger) -> SenderState:
    """Raises RuntimeError if there is no such transition."""
    if trigger is Trigger.CLOSED:
        return SenderState.CLOSED
    try:
        return _TRANSITIONS[state][trigger]
    except KeyError:
        raise RuntimeError(f"not possible now: {trigger.value} (state: {state.value})") from None
