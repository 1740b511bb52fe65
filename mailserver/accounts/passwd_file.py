"""Reads the accounts of another server: Dovecot's passwd-file, or lines with a name and a hash.

    line  = user ":" password [ ":" uid ":" gid ":" gecos ":" home ":" shell [ ":" extra *( SP extra ) ] ]

Dovecot reads this format (doc.dovecot.org, "Passwd-file"). With two fields it is also the format of
Postfix's tables and of htpasswd. Blank lines and lines that start with "#" are ignored. A rejected line is
reported with its number and the reason, which never contains the password.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

import attrs

from mailserver.accounts.passwords import StoredPassword
from mailserver.errors import MailserverError
from mailserver.mail.address import Address
from mailserver.mail.names import normal_form

# An import without these restrictions would allow more than the original line.
_CANNOT_KEEP = ("nopassword", "nologin", "allow_nets", "allow_real_nets")


@attrs.frozen
class ImportedLine:
    """An account in line ``number``, from 1."""

    number: int
    address: Address
    password: StoredPassword


@attrs.frozen
class RejectedLine:
    """Line ``number``, from 1, is rejected for this reason."""

    number: int
    reason: str


def read(
    text: str, address_of: Callable[[str], Address], scheme: str = ""
) -> Iterator[ImportedLine | RejectedLine]:
    """Read the lines of a file.

    ``address_of`` turns a user into an address, or raises
    :class:`~mailserver.errors.MailserverError` with the reason. ``scheme`` is the scheme of passwords with
    neither braces nor a "$…$"; without it they are rejected.
    """
    lines_of: dict[Address, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found = ImportedLine(number, *_read(line, address_of, scheme))
            first = lines_of.setdefault(normal_form(found.address), number)
            if first != number:
                raise _Rejected(f"{found.address} is already in line {first}")
        except (_Rejected, MailserverError) as error:
            yield RejectedLine(number, str(error))
        else:
            yield found


def plain_passwords(text: str, numbers: Iterable[int], scheme: str) -> dict[int, str]:
    """The plain passwords of these lines, all of which :func:`read` accepts."""
    fields = {number: _fields(line) for number, line in enumerate(text.split("\n"), 1)}
    return {number: _password(fields[number][1], scheme).value for number in numbers}


def without_passwords(text: str, numbers: Collection[int]) -> str:
    """The text without the passwords of these lines."""
    return "\n".join(
        f"{_fields(line)[0]}:{{NONE}}" if number in numbers else line
        for number, line in enumerate(text.split("\n"), 1)
    )


def _fields(line: str) -> list[str]:
    return [*line.removesuffix("\r").split(":"), ""]


class _Rejected(Exception):
    """A line is rejected; the text is the reason."""


def _read(line: str, address_of: Callable[[str], Address], scheme: str) -> tuple[Address, StoredPassword]:
    user, colon, rest = line.partition(":")
    if not colon:
        raise _Rejected("there is no colon after the user")
    try:
        line.encode()
    except UnicodeEncodeError:
        raise _Rejected("invalid UTF-8") from None
    password, *others = rest.split(":", 6)
    for extra in others[5].split() if len(others) == 6 else ():
        name = extra.partition("=")[0].removeprefix("passdb_")
        if name in _CANNOT_KEEP:
            raise _Rejected(f"{name} is not supported")
    return address_of(user), _password(password, scheme)


def _password(text: str, scheme: str) -> StoredPassword:
    if not text:
        raise _Rejected("the password is missing")
    found = StoredPassword.read(text, scheme)
    if not found.sound:
        raise _Rejected("the password does not have the form of its scheme")
    return found
