"""The names allowed for mailboxes, aliases and lists, and the folder names of mailboxes.

The grammar of addresses allows more than is usable: invisible characters, different spellings of the same
name (Unicode Standard Annex 15), and names whose escaped form is too long for a file system.
"""

import re
import stringprep
import unicodedata

from mailserver.errors import AddressError
from mailserver.mail.address import Address

MAX_COMPONENT = 255  # octets of a file name, on every usual file system
MAX_ADDRESS = 254  # octets: a path has two more (RFC 5321 section 4.5.3.1.3); login names may have 255

_UNSAFE = re.compile(rb"[^a-z0-9._+-]|\A\.")
# Blank characters in the categories of letters and symbols: Hangul and Khmer fillers, an empty Braille cell.
_BLANK = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"


def require_visible(address: Address) -> None:
    """Raise :class:`AddressError` if the local part has an invisible or unprintable character."""
    for char in address.local:
        if not char.isprintable() or char in _BLANK or stringprep.in_table_b1(char):
            raise AddressError(f"the local part has an invisible character, U+{ord(char):04X}")


def require_folder(address: Address) -> None:
    """Raise :class:`AddressError` if the address is too long for a path or for the name of a folder."""
    folder_name(address.local)
    octets = len(str(address).encode())
    if octets > MAX_ADDRESS:
        raise AddressError(f"it has {octets} octets; the maximum is {MAX_ADDRESS} (RFC 5321 4.5.3.1.3)")


def folder_name(text: str) -> str:
    """The folder name for a local part or a domain. Raises :class:`AddressError`."""
    raw = text.casefold().encode("utf-8", "surrogatepass")
    name = _UNSAFE.sub(lambda match: b"%%%02x" % match[0][0], raw).decode("ascii")
    if not name:
        raise AddressError("a mailbox needs a local part and a domain")
    if len(name) > MAX_COMPONENT:
        raise AddressError(
            f"{text[:40]!r}… is too long for a mailbox: the name of its folder has {len(name)} octets; the "
            f"maximum is {MAX_COMPONENT}"
        )
    return name


def normal_form(address: Address) -> Address:
    """One value for all equivalent spellings of a name (NFKC)."""
    if address.local.isascii():
        return address.key
    folded = unicodedata.normalize("NFKC", address.local).casefold()
    return Address(unicodedata.normalize("NFKC", folded), address.domain)
