"""The requests that read messages."""

import re
from urllib.parse import quote

from mailserver.http.exchange import OCTETS, HTTPAnswer, HTTPProblem
from mailserver.http.routes import HTTPCall
from mailserver.interfaces import IStoredMessage
from mailserver.mail import mime
from mailserver.web.context import ApiContext
from mailserver.web.search import MessageQuery
from mailserver.web.views import message_view, page_view

MESSAGE = "message/rfc822"
DEFAULT_PAGE = 50  # messages
# A browser may be told to show the octets of a stranger: it then runs nothing and loads nothing.
_SANDBOX = "default-src 'none'; sandbox"
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
# A browser may run these, whatever the header fields say.
_ACTIVE = re.compile(r"html|xml|svg|script|multipart|message/")


async def list_messages(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """List the messages of a mailbox, the newest first, or search them."""
    mailbox = context.mailbox(call.query.get("mailbox"))
    query = MessageQuery.of(call.query)
    most = call.query.get("limit", DEFAULT_PAGE)
    page = await context.parts.reader.page(mailbox, query, call.query.get("cursor", ""), most)
    return HTTPAnswer.of(page_view(page))


async def show_message(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """One message: its header, its texts, a list of its parts."""
    found, octets = await context.parts.reader.whole(context.message(call.path["message"]))
    return HTTPAnswer.of(await context.parts.threads.run(message_view, found, octets))


async def raw_message(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """The octets of a message."""
    id = context.message(call.path["message"])
    content: bytes | IStoredMessage = await context.parts.reader.content(id)
    fields = _saved(f"{id.uid}.eml")
    if isinstance(content, bytes):
        return HTTPAnswer(200, content, MESSAGE, fields)
    large = content
    return HTTPAnswer(
        200, b"", MESSAGE, fields, pieces=lambda: context.parts.reader.pieces(large), size=content.size
    )


async def show_part(context: ApiContext, call: HTTPCall) -> HTTPAnswer:
    """The octets of one part, without its transfer encoding."""
    _, octets = await context.parts.reader.whole(context.message(call.path["message"]))
    number = call.path["part"]
    part = await context.parts.threads.run(_part, octets, int(number)) if _is_number(number) else None
    if part is None:
        raise HTTPProblem(404, f"There is no part {number}.")
    kind = part.content_type
    if not _TYPE.fullmatch(kind) or _ACTIVE.search(kind):
        kind = OCTETS
    return HTTPAnswer(200, part.data, kind, _saved(part.filename or f"part-{number}"))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _part(octets: bytes, number: int) -> mime.Attachment | None:
    parts = list(mime.leaves(mime.parse(octets)))
    return mime.attachment(parts[number - 1]) if 0 < number <= len(parts) else None


def _saved(filename: str) -> dict[str, str]:
    """The header fields with which a browser saves an answer in a file (RFC 6266)."""
    name = re.sub(r"[^\w .()+-]", "_", filename, flags=re.ASCII).strip(". ") or "part"
    extended = "" if name == filename else f"; filename*=UTF-8''{quote(_plain(filename), safe='')}"
    return {
        "Content-Disposition": f'attachment; filename="{name}"{extended}',
        "Content-Security-Policy": _SANDBOX,
    }


def _plain(filename: str) -> str:
    """A file name without a path and without control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f/\\]", "_", filename).lstrip(".")
