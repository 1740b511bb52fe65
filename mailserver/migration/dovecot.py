"""A Maildir of Dovecot as a source: its POP3 unique-ids, from the file ``dovecot-uidlist``.

    uidlist = "3" *( SP "V" uidvalidity / SP "N" next / SP "G" guid ) LF
              *( uid *( SP key value ) SP ":" name LF )
            / "1" SP uidvalidity SP next LF        ; the older form
              *( uid SP name LF )
    key     = "P" / "G" / "S" / "W" / "O"          ; P: a unique-id saved for POP3, G: the GUID of the message

A unique-id is what Dovecot's setting ``pop3_uidl_format`` makes of these numbers, unless one is saved.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from mailserver.errors import MailserverError, StorageError
from mailserver.store.content import open_message
from mailserver.store.names import base_name, is_uid

UIDLIST = "dovecot-uidlist"
DEFAULT_FORMAT = "%08Xu%08Xv"
LARGEST = 256 * 1024 * 1024  # octets of a uidlist
ALLOWED = (
    "%u, %v, %f and %g, such as %08Xu%08Xv, or %{uid}, %{uidvalidity}, %{filename} and %{guid}, each also "
    "with | hex(8)"
)

_NAMES = {"u": "uid", "v": "uidvalidity", "f": "filename", "g": "guid"}
# 2.3: %, a width that may begin with 0, X for hexadecimal digits, the variable. 2.4: %{name | hex(width)}.
_VARIABLE = re.compile(
    r"%(?P<width>[0-9]{0,2})(?P<hex>X?)(?P<short>[uvfg])"
    r"|%\{ *(?P<name>uid|uidvalidity|filename|guid) *(?:\| *hex(?:\((?P<digits>[0-9]{1,2})\))? *)?\}"
)
_HEX = re.compile(r"\| *hex")


class InvalidFormat(MailserverError):
    """A format of unique-ids that is not supported."""


@attrs.frozen
class UIDFormat:
    """A ``pop3_uidl_format`` of Dovecot."""

    text: str = attrs.field()

    @text.validator
    def _check(self, attribute: object, text: str) -> None:
        rest = _VARIABLE.sub("", text)
        if "%" in rest or rest == text:
            raise InvalidFormat(f"{text!r} is not a supported format; allowed: {ALLOWED}")

    def fill(self, values: Mapping[str, str]) -> str:
        """The unique-id of a message with these values, by the long names of the variables."""

        def value(match: re.Match[str]) -> str:
            found = values[match["name"] or _NAMES[match["short"]]]
            if match["hex"] or _HEX.search(match[0]):
                found = f"{int(found):x}" if found.isdecimal() else found
            width = match["digits"] or match["width"] or "0"
            zeros = match["digits"] or width.startswith("0")
            return found.rjust(int(width), "0" if zeros else " ")

        return _VARIABLE.sub(value, self.text)


@attrs.frozen
class ListedUID:
    """A line of a uidlist. ``saved`` is the unique-id that was saved for POP3, None without one."""

    uid: int
    name: str
    saved: str | None = None
    guid: str | None = None


@attrs.frozen
class UIDList:
    """A uidlist; ``listed`` has the messages by base name."""

    validity: int
    listed: Mapping[str, ListedUID]

    def uids(self, format: UIDFormat) -> dict[str, str]:
        """The unique-ids for POP3 by base name, without those that POP3 does not allow."""
        found = {}
        for base, each in self.listed.items():
            values = {
                "uid": str(each.uid),
                "uidvalidity": str(self.validity),
                "filename": base,
                "guid": each.guid or base,
            }
            # An empty saved one means the name of the file.
            uid = format.fill(values) if each.saved is None else each.saved or base
            if is_uid(uid):
                found[base] = uid
        return found


def read_uidlist(folder: Path) -> UIDList:
    """The uidlist of a Maildir. Raises ``OSError``, and :class:`~mailserver.errors.StorageError` if it is not
    one."""
    path = folder / UIDLIST
    with open_message(str(path)) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise StorageError(f"{path} has more than {LARGEST} octets")
    try:
        return parse_uidlist(data)
    except ValueError as error:
        raise StorageError(f"{path} is not a uidlist of Dovecot: {error}") from None


def parse_uidlist(data: bytes) -> UIDList:
    """Parse a uidlist. A later line about a file replaces an earlier one. Raises ``ValueError``."""
    # An interrupted write leaves an incomplete last line.
    first, *lines = data.decode("utf-8", "surrogateescape").split("\n")[:-1] or [""]
    version, *words = first.split(" ")
    if version == "3":
        validity = next((word[1:] for word in words if word.startswith("V")), "")
    elif version == "1" and words:
        validity = words[0]
    else:
        raise ValueError(f"its first line is {first[:60]!r}")
    read = _lines_of_3 if version == "3" else _lines_of_1
    return UIDList(_number(validity), {base_name(each.name): each for each in read(lines)})


def _lines_of_3(lines: list[str]) -> Iterator[ListedUID]:
    for line in lines:
        start, colon, name = line.partition(" :")
        number, *fields = start.split(" ")
        if not colon or not name:
            raise ValueError(f"it has the line {line[:60]!r}")
        saved = next((field[1:] for field in fields if field.startswith("P")), None)
        guid = next((field[1:] for field in fields if field.startswith("G")), None)
        yield ListedUID(_number(number), name, saved, guid)


def _lines_of_1(lines: list[str]) -> Iterator[ListedUID]:
    for line in lines:
        number, _, name = line.partition(" ")
        yield ListedUID(_number(number), name)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) >= 1 << 32:
        raise ValueError(f"{text[:20]!r} is not a number of 32 bits")
    return int(text)
