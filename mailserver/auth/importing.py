"""Accounts out of a file of another server: Dovecot's passwd-file, or lines with a name and a hash.

    line  = user ":" password [ ":" uid ":" gid ":" gecos ":" home ":" shell [ ":" extra *( SP extra ) ] ]

That is what Dovecot reads (doc.dovecot.org, "Passwd-file"), and, with two fields, what Postfix's tables
and htpasswd have. Blank lines and those that start with "#" say nothing. What a line cannot be taken for
is told by its number and the reason, which never repeats the password.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

import attrs

from mailserver.auth.passwords import StoredPassword
from mailserver.errors import MailserverError
from mailserver.mail.address import Address
from mailserver.mail.names import normal_form

# Without these a line would let in more people, or from more places, than it did.
_CANNOT_KEEP = ("nopassword", "nologin", "allow_nets", "allow_real_nets")


@attrs.frozen
class Found:
    """An account in line ``number``, from 1."""

    number: int
    address: Address
    password: StoredPassword


@attrs.frozen
class Problem:
    """Why line ``number`` cannot be taken."""

    number: int
    reason: str


def read(text: str, address_of: Callable[[str], Address], scheme: str = "") -> Iterator[Found | Problem]:
    """What the lines of a file say.

    ``address_of`` turns a user into an address, or raises
    :class:`~mailserver.errors.MailserverError` with the reason why that is none. ``scheme`` is that of
    passwords which neither braces nor a "$…$" tell; without it they are refused.
    """
    lines_of: dict[Address, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found = Found(number, *_read(line, address_of, scheme))
            first = lines_of.setdefault(normal_form(found.address), number)
            if first != number:
                raise _Refused(f"{found.address} is already in line {first}")
        except (_Refused, MailserverError) as error:
            yield Problem(number, str(error))
        else:
            yield found


def plain_passwords(text: str, numbers: Iterable[int], scheme: str) -> dict[int, str]:
    """The plain passwords of these lines, all of which :func:`read` takes."""
    fields = {number: _fields(line) for number, line in enumerate(text.split("\n"), 1)}
    return {number: _password(fields[number][1], scheme).value for number in numbers}


def without_passwords(text: str, numbers: Collection[int]) -> str:
    """The text, with none in these lines."""
    return "\n".join(
        f"{_fields(line)[0]}:{{NONE}}" if number in numbers else line
        for number, line in enumerate(text.split("\n"), 1)
    )


def _fields(line: str) -> list[str]:
    return [*line.removesuffix("\r").split(":"), ""]


class _Refused(Exception):
    """A line is none; the text is the reason."""


def _read(line: str, address_of: Callable[[str], Address], scheme: str) -> tuple[Address, StoredPassword]:
    user, colon, rest = line.partition(":")
    if not colon:
        raise _Refused("there is no colon after the user")
    try:
        line.encode()
    except UnicodeEncodeError:
        raise _Refused("it is not UTF-8") from None
    password, *others = rest.split(":", 6)
    for extra in others[5].split() if len(others) == 6 else ():
        name = extra.partition("=")[0].removeprefix("passdb_")
        if name in _CANNOT_KEEP:
            raise _Refused(f"it has {name}, which an account here cannot have")
    return address_of(user), _password(password, scheme)


def _password(text: str, scheme: str) -> StoredPassword:
    if not text:
        raise _Refused("the password is missing")
    found = StoredPassword.read(text, scheme)
    if not found.sound:
        raise _Refused("the password is not of the form of its scheme")
    return found
