"""Mail loops: a message that an address here forwards, and that comes back to it.

The copy for the other server has a Delivered-To field with the address that forwards it, as with Postfix and
qmail. ``smtp.hop_limit`` ends the loops of servers that remove such fields.
"""

import re

from zope.interface import implementer

from mailserver.interfaces import IContent
from mailserver.mail.address import Address
from mailserver.mail.returned import header_of
from mailserver.mail.trace import forwarder
from mailserver.mail.verdict import ROUTING_LOOP, Refuse
from mailserver.reception.checks import ACCEPTED, CheckResult, IMessageCheck
from mailserver.reception.transaction import Transaction

_DELIVERED_TO = re.compile(rb"^Delivered-To:[ \t]*(.*?)[ \t]*\r$", re.IGNORECASE | re.MULTILINE)


@implementer(IMessageCheck)
class ForwardingLoop:
    """Rejects a message for an address that has already forwarded it to another server."""

    def check_message(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IMessageCheck`."""
        forwards: dict[bytes, Address] = {}
        for recipient in transaction.recipients:
            if recipient.routed.relayed:
                continue
            for destination in recipient.routed.destinations:
                if destination.remote:
                    forwards[forwarder(recipient.address.key).lower().encode()] = recipient.address
        if not forwards:
            return ACCEPTED
        for found in _DELIVERED_TO.findall(header_of(content.chunks())):
            if address := forwards.get(found.lower()):
                text = f"mail loop: {address} has forwarded this message before"
                return Refuse(ROUTING_LOOP, text, "routing")
        return ACCEPTED
