"""The requests of senders for reports about recipients (RFC 3461 section 4.1)."""

from collections.abc import Collection, Iterator

import attrs

from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope, ReportRequest
from mailserver.mail.reported import Action, ReportedRecipient
from mailserver.mail.verdict import Destination, Status

SUCCESS, FAILURE, DELAY, NEVER = "SUCCESS", "FAILURE", "DELAY", "NEVER"
NO_REQUEST = ReportRequest()
DONE = Status(0, 0)


def is_wanted(notify: str, kind: str) -> bool:
    """Whether the parameter NOTIFY asks for reports of this kind. The default is failures and delays."""
    return kind in notify.upper().split(",") if notify else kind != SUCCESS


def request_for(envelope: Envelope, destination: Destination) -> ReportRequest:
    """The request that goes with the copy for a destination (RFC 3461 section 5.2.7).

    The members of a list have none. The success of an alias for several addresses is reported when the
    message is accepted, and not by each address.
    """
    request = envelope.reports.get(destination.delivered_to, NO_REQUEST)
    if destination.bounces_to is not None:
        return NO_REQUEST
    if not (is_wanted(request.notify, SUCCESS) and _is_expanded(envelope, destination.delivered_to)):
        return request
    others = [kind for kind in request.notify.upper().split(",") if kind != SUCCESS]
    return attrs.evolve(request, notify=",".join(others) or NEVER)


def accepted(
    envelope: Envelope, full: Collection[Address], rejected: Collection[Address] = ()
) -> Iterator[ReportedRecipient]:
    """The recipients whose success is certain as soon as the message is accepted, and wanted by the sender.

    ``full`` are the mailboxes that have not got it yet, ``rejected`` those that will not get it.
    """
    if envelope.reverse_path is None:
        return
    for recipient, request in envelope.reports.items():
        if not is_wanted(request.notify, SUCCESS):
            continue
        to = [
            each
            for each in envelope.destinations
            if each.delivered_to == recipient and each.mailbox not in rejected
        ]
        if any(each.bounces_to is not None for each in to):
            action = Action.DELIVERED  # to the list
        elif len(to) > 1:
            action = Action.EXPANDED
        elif to and not to[0].remote and to[0].mailbox not in full:
            action = Action.DELIVERED
        else:
            continue
        yield ReportedRecipient(address=str(recipient), action=action, status=DONE, orcpt=request.orcpt)


def _is_expanded(envelope: Envelope, recipient: Address) -> bool:
    return sum([each.delivered_to == recipient for each in envelope.destinations]) > 1
