"""The states of a POP3 session (RFC 1939 section 3)."""

from mailserver.session.verbs import SessionState


class POP3State(SessionState):
    """The state of a session."""

    AUTHORIZATION = "the client has not logged in"
    TRANSACTION = "the maildrop is locked for this session"
    UPDATE = "after QUIT: the marked messages are being removed, and no more input is read"
    CLOSED = "the session is over"
