"""``mailserver sendmail``: submits the message of a local program.

The message passes through the reception like a message by SMTP. Either all recipients are accepted or none
is, so that the program knows the outcome. The exit status is one of ``sysexits.h``.
"""

import os
import re
from collections.abc import AsyncIterator, Callable
from email.header import Header
from io import FileIO

from mailserver.commands.account_admin import texts_in
from mailserver.config.keys.smtp import SmtpSection
from mailserver.control.channel import CONTENT, CommandFailed, CommandOutcome, Request
from mailserver.errors import AddressError, one_line
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address, parse_domain, split_local_part
from mailserver.mail.verdict import BAD_MAILBOX, NOT_AUTHORIZED, Defer, Moved, Refuse
from mailserver.reception.reception import Reception
from mailserver.reception.submission import SubmissionRejected, submit
from mailserver.reception.transaction import Client, LocalUser
from mailserver.threads.pool import run_in_thread

SENDMAIL = "sendmail"
PIECE = 256 * 1024  # octets read at a time
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")


class _Rejected(Exception):
    """The message is not accepted: the exit status and the reason."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class LocalSubmission:
    """Submits messages to the ``reception`` that is in force, within the limits of the ``section`` [smtp].

    ``domain`` completes addresses without one.
    """

    def __init__(
        self,
        reception: Callable[[], Reception],
        section: Callable[[], SmtpSection],
        domain: str,
        reactor: IReactor,
    ) -> None:
        self._reception = reception
        self._section = section
        self._domain = domain
        self._reactor = reactor

    async def run(self, request: Request) -> CommandOutcome:
        """Submit the ``content`` of the request.

        Further members: ``reverse_path``, "" for the null reverse-path; ``recipients``; ``uid``, the user of
        the program; ``author`` and ``name``, the address and the name for a From field; ``ret``, ``envid``
        and ``notify``, the parameters of RFC 3461 section 4, "" without one.
        """
        content = request.get(CONTENT)
        if not isinstance(content, FileIO):
            raise CommandFailed("the request has no content")
        # A thread may still read when the requester has disconnected.
        with FileIO(os.dup(content.fileno())) as file:
            try:
                return CommandOutcome((await self._submit(request, file),))
            except _Rejected as error:
                return CommandOutcome((one_line(str(error)),), error.status)

    async def _submit(self, request: Request, file: FileIO) -> str:
        section = self._section()
        recipients = dict.fromkeys(map(self._address, texts_in(request, "recipients")))
        size = os.fstat(file.fileno()).st_size
        if size > section.max_message_size:
            raise _Rejected(os.EX_DATAERR, f"the message is larger than {section.max_message_size} octets")
        if len(recipients) > section.max_recipients:
            raise _Rejected(os.EX_DATAERR, f"the message has more than {section.max_recipients} recipients")
        reverse_path = self._address(path) if (path := _text(request, "reverse_path")) else None
        uid = request.get("uid")
        author = _author(_text(request, "name"), self._address(_text(request, "author")))
        local = LocalUser(uid if isinstance(uid, int) else -1, author)
        try:
            id_ = await submit(
                self._reception(),
                Client(local=local),
                reverse_path,
                list(recipients),
                self._pieces(file),
                hop_limit=section.hop_limit,
                of_sender=_parameters(request, "ret", "envid"),
                of_recipients=_parameters(request, "notify"),
            )
        except SubmissionRejected as error:
            raise _Rejected(_status(error.verdict), str(error)) from None
        return f"queued as {id_}"

    def _address(self, text: str) -> Address:
        """An address of the request, in the first domain if it has none."""
        try:
            local, rest = split_local_part(text, any_dots=True)
            if rest and not rest.startswith("@"):
                raise AddressError("the local part has an invalid character")
            return Address(local, parse_domain(rest[1:]) if rest else self._domain)
        except AddressError as error:
            raise _Rejected(os.EX_DATAERR, f"invalid address {text!r}: {error}") from None

    async def _pieces(self, file: FileIO) -> AsyncIterator[bytes]:
        offset = 0
        while data := await self._read(file, offset):
            offset += len(data)
            yield data

    async def _read(self, file: FileIO, offset: int) -> bytes:
        if offset == 0:
            # Most messages end here. The program has just written the file.
            return os.pread(file.fileno(), PIECE, 0)
        return await run_in_thread(self._reactor, os.pread, file.fileno(), PIECE, offset)


def _text(request: Request, member: str) -> str:
    value = request.get(member, "")
    if not isinstance(value, str):
        raise CommandFailed(f"the {member} of the request is not a text")
    return value


def _parameters(request: Request, *members: str) -> dict[str, str]:
    return {member.upper(): text for member in members if (text := _text(request, member))}


def _author(name: str, address: Address) -> str:
    """The body of a From field."""
    name = name.strip()
    if not name or not name.isprintable():
        return str(address)
    if not name.isascii():
        phrase = Header(name, "utf-8", header_name="From").encode(linesep="\r\n")
    elif _PHRASE.fullmatch(name):
        phrase = name
    else:
        phrase = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{phrase} <{address}>"


def _status(verdict: Moved | Defer | Refuse) -> int:
    """The exit status for a verdict that does not accept."""
    if isinstance(verdict, Defer):
        return os.EX_TEMPFAIL
    if isinstance(verdict, Moved) or verdict.status == BAD_MAILBOX:
        return os.EX_NOUSER
    return os.EX_NOPERM if verdict.status == NOT_AUTHORIZED else os.EX_UNAVAILABLE
