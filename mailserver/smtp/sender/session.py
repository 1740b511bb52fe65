"""A session that sends mail to a server (RFC 5321, RFC 2033), without socket, clock or disk.

The caller gives input to :meth:`SenderSession.receive`, takes events from :meth:`SenderSession.next_event`
until it returns None, and then sends what :meth:`SenderSession.take_output` returns. Output may come from
every call, so the caller takes it after every call.
"""

from collections.abc import Callable

from mailserver.smtp.sender.events import SenderEvent
from mailserver.smtp.sender.extensions import ServerExtensions
from mailserver.smtp.sender.settings import OutgoingMail, SenderSettings


def _unbound(binding_type: str) -> None:
    """A connection without TLS has no binding data."""


class SenderSession:
    """A client's session with one server.

    ``extensions`` has the extensions that the server offers now. ``encrypted``: TLS is active. ``closed``:
    the session has ended.
    """

    extensions: ServerExtensions
    encrypted: bool
    closed: bool

    def __init__(self, settings: SenderSettings) -> None:
        raise NotImplementedError

    def receive(self, data: bytes) -> None:
        """Add input from the server. A closed session ignores it."""
        raise NotImplementedError

    def next_event(self) -> SenderEvent | None:
        """The next event; None if the session waits for input or for the caller."""
        raise NotImplementedError

    def take_output(self) -> bytes:
        """The octets to send since the last call. While content is written: the next piece of it."""
        raise NotImplementedError

    def tls_started(self, binding: Callable[[str], bytes | None] = _unbound) -> None:
        """TLS is active: after :class:`StartTLS`, or, with implicit TLS, before the first ``receive``.

        The session forgets all it knows about the server (RFC 3207 section 4.2). ``binding`` returns the data
        of a channel binding type ("tls-exporter", "tls-server-end-point") for SCRAM, None if there is none.
        """
        raise NotImplementedError

    def connection_lost(self, text: str = "the connection is lost") -> None:
        """The connection is gone, or the caller gives up after :attr:`timeout` and will close it.

        ``text`` is for :class:`SessionClosed` and the results of the message.
        """
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """Whether ``send`` may be called: the session is ready, and no message is under way.

        False once the server's limit of messages per session (MAILMAX, RFC 9422) is reached.
        """
        raise NotImplementedError

    @property
    def timeout(self) -> float | None:
        """Seconds to wait for what is expected next (RFC 5321 section 4.5.3.2); None if nothing is.

        The time begins anew with each input, and with each output that the connection accepts.
        """
        raise NotImplementedError

    def send(self, mail: OutgoingMail) -> None:
        """Begin a message. Raises RuntimeError unless :attr:`idle`."""
        raise NotImplementedError

    def write(self, chunk: bytes) -> None:
        """Add content, in pieces of any size. Take the output after each call, and write more when it is sent.

        Ignored if the message has been decided meanwhile; RuntimeError if no content was wanted.
        """
        raise NotImplementedError

    def end(self) -> None:
        """The content is complete."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Give up the message that is under way: the server accepts nothing.

        The results are ``UNTRIED``. If the content has begun, this ends the session.
        """
        raise NotImplementedError

    def quit(self) -> None:
        """End the session, between messages. Raises RuntimeError while a message is under way."""
        raise NotImplementedError
