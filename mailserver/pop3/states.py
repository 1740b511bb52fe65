"""The states of a POP3 session (RFC 1939 section 3)."""

from mailserver.session.verbs import SessionState


class POP3State(SessionState):
    """The state of a session."""

    AUTHORIZATION = "nobody has logged in yet"
    TRANSACTION = "the maildrop is locked for this session"
    UPDATE = "QUIT was given: what is marked is being removed, and nothing more is read"
    CLOSED = "the session is over"
