"""What is known of a message before its content: who sends it, and to whom (RFC 5321 section 3.3)."""

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Envelope, Parameters
from mailserver.mail.verdict import Destination, Routed


@attrs.frozen
class Client:
    """Whoever brings mail, as far as it is known.

    ``ip`` is its address, "" if it has none (a unix socket). ``limit_key`` is what the limits count it as,
    "" for a client that they do not count. ``proxy`` is the address of the proxy that named the client in
    a PROXY header, "" without one. ``helo`` is the name that the client gives itself, ``protocol`` a keyword
    of RFC 3848. ``tls`` has the version and the cipher, "" without TLS. ``account`` has logged in.
    ``session`` is the id of the connection in the log, "" without one.
    """

    ip: str = ""
    limit_key: str = ""
    proxy: str = ""
    helo: str = ""
    protocol: str = "SMTP"
    tls: str = ""
    account: Address | None = None
    session: str = ""


@attrs.frozen
class Recipient:
    """A recipient that is accepted, with the mailboxes it leads to; ``parameters`` are those of RCPT."""

    address: Address
    routed: Routed
    parameters: Parameters


@attrs.frozen
class Transaction:
    """One message from MAIL on; an accepted recipient makes a new value of it.

    ``id`` names the message in replies, logs and trace fields. ``listener`` is the key of the listener in
    the configuration, such as ``listen[1]``. ``parameters`` are those of MAIL, their keywords in upper case.
    ``fields`` are the header fields that checks add to the message, each with its CRLF.
    """

    id: str
    listener: str
    client: Client
    reverse_path: ReversePath
    parameters: Parameters
    recipients: tuple[Recipient, ...] = ()
    fields: bytes = b""

    def with_recipient(self, recipient: Recipient, fields: bytes) -> "Transaction":
        """The same with one more recipient, and with more header fields."""
        return Transaction(
            self.id,
            self.listener,
            self.client,
            self.reverse_path,
            self.parameters,
            (*self.recipients, recipient),
            self.fields + fields,
        )

    def envelope(self) -> Envelope:
        """The envelope to store with the message.

        Each mailbox gets one copy, however many recipients lead to it. The first of them decides how the copy
        is marked; but one that leads there by a list gives way to one that does not, since bounces of the
        latter go to the sender.
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
        )
