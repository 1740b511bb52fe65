"""The envelope: who a message is from, whom it is for, and how it came (RFC 5321 section 2.3.1)."""

from collections.abc import Mapping

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Destination

# Of MAIL or RCPT, by keyword in upper case; None where the client has given no value.
Parameters = Mapping[str, str | None]


@attrs.frozen
class Envelope:
    """A message's envelope as it was accepted.

    ``id`` names the message in replies, logs and trace fields. ``recipients`` are the accepted
    forward-paths in the order of their RCPT commands; ``destinations`` the final mailboxes they
    lead to, each once. ``client`` is the IP address it came from, "" where it came from no client.
    """

    id: str
    reverse_path: ReversePath
    recipients: tuple[Address, ...]
    destinations: tuple[Destination, ...]
    client: str = ""

    def reverse_path_for(self, destination: Destination) -> ReversePath:
        """Where bounces of this copy go: a list gets its own, and nobody those of a bounce."""
        if self.reverse_path is None or destination.bounces_to is None:
            return self.reverse_path
        return destination.bounces_to
