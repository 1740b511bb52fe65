"""Replies of a server (RFC 5321 section 4.2, RFC 2034), read from a stream in bounded memory."""

import attrs

from mailserver.mail.verdict import Status


@attrs.frozen
class ServerReply:
    """One reply. ``lines`` are without the code, printable, at least one. ``str()`` has it in one line.

    ``status`` has subject and detail of the enhanced status code (RFC 3463), None without one. ``text`` has
    the lines without the enhanced codes, joined.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def status(self) -> Status | None:
        raise NotImplementedError

    @property
    def text(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        raise NotImplementedError
