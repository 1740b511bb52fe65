"""A message before its content: its client, its sender and its recipients (RFC 5321 section 3.3)."""

from collections.abc import Collection

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Envelope, Parameters, ReportRequest
from mailserver.mail.handling import USUAL, Handling
from mailserver.mail.verdict import Destination, Routed
from mailserver.mail.xtext import ascii_orcpt


@attrs.frozen
class LocalUser:
    """The user of a local program that submits mail. ``author`` becomes the From field of a message without
    one."""

    uid: int
    author: str


@attrs.frozen
class Client:
    """The client that brings mail.

    ``ip`` is its address, "" for a unix socket. ``limit_key`` is its name in the limits, "" for a client
    without limits. ``proxy`` is the address of the proxy that sent a PROXY header for the client, "" without
    one. ``helo`` is the argument of HELO or EHLO, ``protocol`` a keyword of RFC 3848 or RFC 6531.
    ``tls`` has the version and the cipher, "" without TLS. ``account`` is the account of the login, None
    without one. ``session`` is the id of the connection in the log, "" without one. ``local`` is the user of
    a local program that submits mail without a connection.
    """

    ip: str = ""
    limit_key: str = ""
    proxy: str = ""
    helo: str = ""
    protocol: str = "SMTP"
    tls: str = ""
    account: Address | None = None
    session: str = ""
    local: LocalUser | None = None


@attrs.frozen
class Recipient:
    """A routed recipient. ``parameters`` are those of RCPT."""

    address: Address
    routed: Routed
    parameters: Parameters

    @property
    def mailboxes(self) -> frozenset[Address]:
        """The final mailboxes, here and on other servers."""
        return frozenset([destination.mailbox for destination in self.routed.destinations])

    def is_rejected_by(self, mailboxes: Collection[Address]) -> bool:
        """Whether all of its mailboxes are among these."""
        own = self.mailboxes
        return bool(own) and own.issubset(mailboxes)


@attrs.frozen
class Transaction:
    """One message from MAIL on. Each accepted recipient makes a new value.

    ``id`` is the id of the message in replies, logs and trace fields. ``listener`` is the configuration key
    of the listener, such as ``listen[1]``. ``parameters`` are those of MAIL, and ``handling`` is what some of
    them ask for. ``fields`` are the header fields that checks add to the message, each with its CRLF.
    """

    id: str
    listener: str
    client: Client
    reverse_path: ReversePath
    parameters: Parameters
    recipients: tuple[Recipient, ...] = ()
    fields: bytes = b""
    handling: Handling = USUAL

    def with_recipient(self, recipient: Recipient, fields: bytes) -> "Transaction":
        """A copy with one more recipient and more header fields."""
        return Transaction(
            self.id,
            self.listener,
            self.client,
            self.reverse_path,
            self.parameters,
            (*self.recipients, recipient),
            self.fields + fields,
            self.handling,
        )

    def envelope(self) -> Envelope:
        """The envelope to store with the message.

        Each mailbox gets one copy, even if several recipients lead to it. The first of them decides the
        Delivered-To field. A recipient by way of a list yields to a direct one, whose bounces go to the
        sender.
        """
        destinations: dict[Address, Destination] = {}
        for recipient in self.recipients:
            for destination in recipient.routed.destinations:
                known = destinations.get(destination.mailbox)
                if known is None or (known.bounces_to and not destination.bounces_to):
                    destinations[destination.mailbox] = destination
        return Envelope(
            self.id,
            self.reverse_path,
            tuple([recipient.address for recipient in self.recipients]),
            tuple(destinations.values()),
            self.client.ip,
            self.parameters.get("RET") or "",
            self.parameters.get("ENVID") or "",
            {
                recipient.address: ReportRequest(
                    recipient.parameters.get("NOTIFY") or "",
                    ascii_orcpt(recipient.parameters.get("ORCPT") or ""),
                )
                for recipient in self.recipients
                if recipient.parameters
            },
            handling=self.handling,
        )
