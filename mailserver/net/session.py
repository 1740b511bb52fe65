"""What a connection needs of a session, whatever its protocol."""

from typing import Any, Protocol

from mailserver.sasl.mechanisms import Channel
from mailserver.session.events import Request


class ISession(Protocol):
    """A sans-IO session."""

    @property
    def closed(self) -> bool:
        """The connection is to be closed after the output."""
        ...

    @property
    def progress(self) -> int:
        """Grows with each command, and with each good piece of a message."""
        ...

    @property
    def commands(self) -> int:
        """How many lines of the client have been run."""
        ...

    @property
    def awaited(self) -> Request | None:
        """The event that waits for its answer."""
        ...

    def greet(self) -> None: ...
    def secured(self, channel: Channel) -> None: ...
    def receive(self, data: bytes) -> None: ...
    def next_event(self) -> Any: ...
    def answer(self, answer: Any) -> None: ...
    def fail(self) -> None: ...
    def take_output(self) -> bytes: ...
