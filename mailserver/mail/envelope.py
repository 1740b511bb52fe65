"""The envelope of a message: its sender, its recipients, its client (RFC 5321 section 2.3.1)."""

from collections.abc import Mapping

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.handling import USUAL, Handling
from mailserver.mail.verdict import Destination

Parameters = Mapping[str, str | None]
"""Of MAIL or RCPT, by keyword in upper case; None where the client has given no value."""


@attrs.frozen
class ReportRequest:
    """The parameters NOTIFY and ORCPT of RCPT (RFC 3461 section 4) as the client gave them, or "".

    ``orcpt`` is ASCII; a UTF-8 address has its 7-bit form.
    """

    notify: str = ""
    orcpt: str = ""


@attrs.frozen
class Envelope:
    """The envelope of an accepted message.

    ``id`` identifies the message in replies, logs and trace fields. ``recipients`` has the accepted
    forward-paths in the order of their RCPT commands, ``destinations`` the final mailboxes that they lead
    to, each once. ``client`` is the IP address of the client, "" if there is none. ``ret`` and ``envid`` are
    the parameters of MAIL (RFC 3461 section 4), "" without them; ``notify`` and ``orcpt`` of RCPT stand in
    ``reports``, by recipient. ``forward_path`` replaces the reverse-path in copies that are forwarded to
    other servers; with None they keep it. ``handling`` is what the sender asks for by other parameters of
    MAIL.
    """

    id: str
    reverse_path: ReversePath
    recipients: tuple[Address, ...]
    destinations: tuple[Destination, ...]
    client: str = ""
    ret: str = ""
    envid: str = ""
    reports: Mapping[Address, "ReportRequest"] = attrs.field(factory=dict)
    forward_path: ReversePath = None
    handling: Handling = USUAL

    def reverse_path_for(self, destination: Destination) -> ReversePath:
        """The reverse-path of this copy: the bounce address of its list, if any; none for a bounce."""
        if self.reverse_path is None:
            return None
        if destination.bounces_to is not None:
            return destination.bounces_to
        if self.forward_path is not None and destination.is_forwarded:
            return self.forward_path
        return self.reverse_path
