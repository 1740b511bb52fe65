"""The names allowed for mailboxes, aliases and lists, and the folder names of mailboxes.

The grammar of addresses allows more than is usable: invisible characters, different spellings of the same
name (Unicode Standard Annex 15), letters of several scripts that look alike (Unicode Technical Standard 39),
and names whose escaped form is too long for a file system.
"""

import re
import stringprep
import unicodedata

from mailserver.errors import AddressError
from mailserver.mail.address import Address, folded

MAX_COMPONENT = 255  # octets of a file name, on every usual file system
MAX_ADDRESS = 254  # octets: a path has two more (RFC 5321 section 4.5.3.1.3); login names may have 255

_UNSAFE = re.compile(rb"[^a-z0-9._+-]|\A\.")
# Blank characters in the categories of letters and symbols: Hangul and Khmer fillers, an empty Braille cell.
_BLANK = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"


# Scripts that one name may have together: those of Chinese, Japanese and Korean, each with Latin.
_TOGETHER = (
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA"},
    {"LATIN", "CJK", "HANGUL"},
)
# First words of the names of characters that belong to no script, or whose script has another name.
_NO_SCRIPT = frozenset({"", "COMBINING", "MODIFIER", "DIGIT"})
_SCRIPT = {"IDEOGRAPHIC": "CJK", "EXTENDED": "ARABIC"}


def require_clear(address: Address) -> None:
    """Raise :class:`AddressError` if people could not read the local part, or could mistake it for another.

    It must have no invisible or unprintable character, and the letters of one script: a Cyrillic letter among
    Latin ones looks like a Latin one.
    """
    for char in address.local:
        if not char.isprintable() or char in _BLANK or stringprep.in_table_b1(char):
            raise AddressError(f"the local part has an invisible character, U+{ord(char):04X}")
    if address.local.isascii():
        return
    scripts = {script for char in unicodedata.normalize("NFKC", address.local) if (script := _script(char))}
    if len(scripts) > 1 and not any(map(scripts.issubset, _TOGETHER)):
        names = " and ".join(sorted(map(str.capitalize, scripts)))
        raise AddressError(f"the local part mixes letters of the scripts {names}")


def _script(char: str) -> str | None:
    """The script of a letter, a mark or a digit, from its name: the Latin of LATIN SMALL LETTER A."""
    if unicodedata.category(char) not in ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd"):
        return None
    word = unicodedata.name(char, "").partition(" ")[0].partition("-")[0]
    return None if word in _NO_SCRIPT else _SCRIPT.get(word, word)


def composed(address: Address) -> Address:
    """The address with its local part in the form NFC, in which the names of this server are kept."""
    local = unicodedata.normalize("NFC", address.local)
    return address if local == address.local else Address(local, address.domain)


def require_folder(address: Address) -> None:
    """Raise :class:`AddressError` if the address is too long for a path or for the name of a folder."""
    folder_name(address.local)
    octets = len(str(address).encode())
    if octets > MAX_ADDRESS:
        raise AddressError(f"it has {octets} octets; the maximum is {MAX_ADDRESS} (RFC 5321 4.5.3.1.3)")


def folder_name(text: str) -> str:
    """The folder name for a local part or a domain. Raises :class:`AddressError`."""
    raw = folded(text).encode("utf-8", "surrogatepass")
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
    """One value for all spellings of a name that are equivalent or compatible (NFKC)."""
    if address.local.isascii():
        return address.key
    same = unicodedata.normalize("NFKC", address.local)
    return Address(unicodedata.normalize("NFKC", folded(same)), address.domain)
