"""The request that sends a message: a message in JSON, or its octets.

It passes through the reception as mail that a user submits: the same checks of the sender, the same limits.
"""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from mailserver.errors import AddressError
from mailserver.http.exchange import OCTETS, HTTPAnswer, HTTPBody, HTTPProblem
from mailserver.http.routes import HTTPCall
from mailserver.mail.address import Address
from mailserver.mail.address_list import addresses_in
from mailserver.mail.verdict import NOT_AUTHORIZED, Defer, Moved
from mailserver.reception.submission import SubmissionRejected, submit
from mailserver.reception.transaction import Client
from mailserver.threads.pool import run_in_thread
from mailserver.web.context import ApiContext
from mailserver.wire.local_text import LocalText

PIECE = 64 * 1024  # octets
KEYWORD = "HTTP"  # in the Received field, as other servers have it
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")


async def send_message(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """Send a message; it is accepted for all recipients or for none."""
    if call.body:
        octets = await context.parts.threads.run(_composed, context, call.body)
        named = [each for name in ("to", "cc", "bcc") for each in call.body.get(name, ())]
        pieces, sender = _pieces_of(octets), call.body.get("from")
    else:
        named = list(_split(call.query.get("to", "")))
        pieces, sender = _lines(context, call.octets), call.query.get("from")
    recipients = list(dict.fromkeys(_address(context, "to", each) for each in named))
    if not recipients:
        raise HTTPProblem(422, 'The message needs a recipient; see "to".')
    parts = context.parts
    section = parts.smtp()
    if len(recipients) > section.max_recipients:
        raise HTTPProblem(422, f"The message has more than {section.max_recipients} recipients.")
    own = context.visitor.account
    if sender is None and own is None:
        raise HTTPProblem(422, 'The message needs a sender; see "from".')
    reverse_path = own if sender is None else _address(context, "from", sender)
    client = Client(
        ip=context.visitor.client,
        limit_key=parts.limits.client(context.visitor.client),
        protocol=KEYWORD,
        account=own,
        session=context.visitor.session,
    )
    try:
        id_ = await parts.start(
            submit(parts.reception(), client, reverse_path, recipients, pieces, hop_limit=section.hop_limit)
        )
    except SubmissionRejected as error:
        raise _problem(error) from None
    return HTTPAnswer.of({"id": id_}, 202)


def _problem(error: SubmissionRejected) -> HTTPProblem:
    verdict, text = error.verdict, str(error).replace("\n", " ")
    if isinstance(verdict, Moved):
        return HTTPProblem(422, text)
    if isinstance(verdict, Defer):
        return HTTPProblem(503, text, {"Retry-After": "300"})
    return HTTPProblem(403 if verdict.status == NOT_AUTHORIZED else 422, text)


def _split(field: str) -> Iterable[str]:
    try:
        yield from addresses_in(field)
    except AddressError as error:
        raise HTTPProblem(422, f'"to": {error}') from None


def _address(context: ApiContext, name: str, text: str) -> Address:
    """The address in a text that may have a name, too: ``Bob <bob@example.org>``."""
    found = list(_split(text))
    if len(found) != 1:
        raise HTTPProblem(422, f'"{name}": expected one address.')
    try:
        full = found[0] if "@" in found[0] else f"{found[0]}@{context.parts.domain}"
        return Address.parse(full, any_dots=True)
    except AddressError as error:
        raise HTTPProblem(422, f'"{name}": invalid address "{found[0]}": {error}') from None


async def _lines(context: ApiContext, body: HTTPBody) -> AsyncIterator[bytes]:
    """The octets of a message that a client has sent, with CRLF as line ends."""
    text, offset = LocalText(dot_ends=False), 0
    while data := await run_in_thread(context.parts.reactor, body.read, offset, PIECE):
        offset += len(data)
        if converted := text.feed(data):
            yield converted
    if rest := text.finish():
        yield rest


async def _pieces_of(octets: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(octets), PIECE):
        yield octets[start : start + PIECE]


# ------------------------------------------------------------ a message in JSON


def _composed(context: ApiContext, body: Any) -> bytes:
    """The message of an object. Raises HTTPProblem. Computes."""
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = _line(body.get("from") or str(context.visitor.account or ""))
        for name in ("to", "cc"):
            if body.get(name):
                message[name.title()] = _line(", ".join(body[name]))
        message["Subject"] = _line(body.get("subject", ""))
        text, html = body.get("text"), body.get("html")
        if text is not None or html is None:
            message.set_content(text or "")
            if html is not None:
                message.add_alternative(html, subtype="html")
        else:
            message.set_content(html, subtype="html")
        for each in body.get("attachments", ()):
            _attach(message, each)
        octets: bytes = message.as_bytes()
    except HTTPProblem:
        raise
    except Exception as error:  # noqa: BLE001 - the package raises many kinds for what cannot be in a message
        raise HTTPProblem(422, f"The message cannot be written: {_line(str(error))}") from None
    return octets


def _attach(message: EmailMessage, attached: Any) -> None:
    kind = attached.get("content_type", OCTETS)
    if not _TYPE.fullmatch(kind) or kind.lower().startswith(("multipart/", "message/")):
        raise HTTPProblem(422, f'"attachments": invalid type "{kind}".')
    main, _, subtype = kind.partition("/")
    filename = _CONTROL.sub("_", attached.get("filename", ""))
    message.add_attachment(attached["content"], maintype=main, subtype=subtype, filename=filename or None)


def _line(text: str) -> str:
    """One line: nobody adds header fields by a line end."""
    return _CONTROL.sub(" ", text)


def attachments(value: Any) -> Sequence[dict[str, Any]]:
    """The kind of the member "attachments". Raises ValueError."""
    from mailserver.http.fields import octets, text

    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError("expected an array of objects")
    found = []
    for each in value:
        if "content" not in each or not each.keys() <= {"content", "content_type", "filename"}:
            raise ValueError('expected objects with "content" in Base64, "content_type" and "filename"')
        rest = {name: text(inner) for name, inner in each.items() if name != "content"}
        found.append({**rest, "content": octets(each["content"])})
    return found
