"""Submits a whole message for a client that knows no dialogue: a local program, a client of the web.

Either all recipients are accepted or none is, so that the client knows the outcome.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from mailserver.events.base import report
from mailserver.events.connections import CommandRejected
from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.head import HeadScanner
from mailserver.mail.verdict import ROUTING_LOOP, Accept, Defer, Moved, Refuse, Routed
from mailserver.reception.receiver import MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client

Rejection = Moved | Defer | Refuse


class SubmissionRejected(Exception):
    """The message is not accepted. ``verdict`` is the deciding one; the text names what was rejected."""

    def __init__(self, verdict: Rejection, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict


# Any: the verdicts of senders and recipients have no type in common.
async def _now(result: Any) -> Any:
    return await result if isinstance(result, Deferred) else result


async def submit(
    reception: Reception,
    client: Client,
    reverse_path: ReversePath,
    recipients: Sequence[Address],
    pieces: AsyncIterator[bytes],
    *,
    hop_limit: int,
    of_sender: Mapping[str, str] = {},
    of_recipients: Mapping[str, str] = {},
) -> str:
    """Submit a message. Returns its id when it is accepted; raises SubmissionRejected otherwise.

    ``pieces`` is the content; ``of_sender`` and ``of_recipients`` are the parameters of MAIL and RCPT.
    """
    receiver = MailReceiver(reception)
    try:
        verdict = await _now(receiver.sender(client, reverse_path, of_sender))
        if not isinstance(verdict, Accept):
            path = format_path(reverse_path)
            _log(client, path, verdict.text, verdict.key)
            raise SubmissionRejected(verdict, f"sender {path}: {verdict.text}")
        await _name(receiver, client, reverse_path, recipients, of_recipients)
        return await _send(receiver, pieces, hop_limit)
    except BaseException:
        receiver.abandon()
        raise


async def _name(
    receiver: MailReceiver,
    client: Client,
    reverse_path: ReversePath,
    recipients: Sequence[Address],
    parameters: Mapping[str, str],
) -> None:
    rejected: list[str] = []
    verdicts: list[Rejection] = []
    for recipient in recipients:
        verdict = await _now(receiver.recipient(recipient, parameters))
        if isinstance(verdict, Routed):
            continue
        if isinstance(verdict, Moved):
            text, key = f"user not local; please try {format_path(verdict.path)}", "routing"
        else:
            text, key = verdict.text, verdict.key
        path = format_path(recipient)
        _log(client, f"{format_path(reverse_path)} to {path}", text, key)
        rejected.append(text if path in text else f"{path}: {text}")
        verdicts.append(verdict)
    if rejected:
        permanent = [verdict for verdict in verdicts if not isinstance(verdict, Defer)]
        raise SubmissionRejected((permanent or verdicts)[0], "; ".join(rejected))


async def _send(receiver: MailReceiver, pieces: AsyncIterator[bytes], hop_limit: int) -> str:
    receiver.start()
    hops = HeadScanner()
    async for data in pieces:
        hops.feed(data)
        if (waiting := receiver.write(data)) is not None:
            await waiting
    if hops.received >= hop_limit:
        text, key = "too many hops; possible mail loop", "smtp.hop_limit"
        receiver.reject(text, key)
        raise SubmissionRejected(Refuse(ROUTING_LOOP, text, key), text)
    transaction = receiver.transaction
    assert transaction is not None
    verdict = await receiver.finish()
    if not isinstance(verdict, Accept):
        raise SubmissionRejected(verdict, verdict.text)
    return transaction.id


def _log(client: Client, what: str, reason: str, rule: str) -> None:
    account = str(client.account or "")
    report(
        CommandRejected(
            client=client.ip, session=client.session, account=account, what=what, reason=reason, rule=rule
        )
    )
