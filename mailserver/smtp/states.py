"""The states of a session that receives mail (RFC 5321 section 4.1.4)."""

from mailserver.session.verbs import SessionState


class SMTPState(SessionState):
    """The state of a session."""

    CONNECTED = "no HELO or EHLO yet"
    IDLE = "between transactions"
    SENDER = "the reverse-path is known"
    RECIPIENTS = "at least one recipient is known"
    CHUNKS = "the message is arriving in chunks"
    TEXT = "the message is arriving"
    REVERSED = "the client receives mail"
    CLOSED = "the session is over"
