"""The connections that this engine uses. ``net`` has the implementation, and ``app`` passes it in.

These are protocols and not interfaces in ``mailserver.interfaces``, because their values belong to the
sending session.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from mailserver.config.schema.mail_kinds import IPAddress
from mailserver.delivery.smtp.content import MessageContent
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSRequirement
from mailserver.smtp.sender.events import RecipientResult, SessionClosed
from mailserver.smtp.sender.extensions import ServerExtensions
from mailserver.smtp.sender.settings import OutgoingMail, SenderSettings


class RelayConnection(Protocol):
    """A connection to ``host`` that was ready to send mail.

    ``label`` is the host with its address, for people. ``tls_problem`` is the problem of TLS as a result type
    of RFC 8460 section 4.3, "" for success, None without TLS. ``messages`` is the number of
    messages so far. ``ended`` says why the session has ended, None if it lives.
    """

    host: RelayHost
    label: str
    tls_problem: str | None
    messages: int
    ended: SessionClosed | None

    @property
    def extensions(self) -> ServerExtensions:
        """The extensions that the server offers."""

    @property
    def idle(self) -> bool:
        """Whether ``send`` may be called."""

    def send(self, mail: OutgoingMail, content: MessageContent) -> "Deferred[tuple[RecipientResult, ...]]":
        """Send a message. Fires with the results in the order of the recipients.

        Fails with the error of the content; then no recipient has the message."""

    def quit(self) -> None:
        """End the session between two messages."""

    def give_up(self, text: str) -> None:
        """End the session at once; ``text`` is the reason."""


class RelayDialler(Protocol):
    """Makes connections."""

    def is_down(self, host: RelayHost) -> bool:
        """Whether the last attempt to connect to the host has failed, a short time ago."""

    def mark_down(self, host: RelayHost) -> None:
        """A session with the host has ended too early."""

    def dial(
        self,
        host: RelayHost,
        settings: SenderSettings,
        requirement: TLSRequirement,
        source: Sequence[IPAddress] = (),
    ) -> Awaitable[RelayConnection]:
        """Connect to a host, until the session is ready.

        Raises :class:`~mailserver.errors.HostUnusable`, and :class:`~mailserver.errors.StorageError` if this
        server cannot connect to anybody. May be cancelled.
        """
