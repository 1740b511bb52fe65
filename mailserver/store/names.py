"""The names of mailbox folders and message files.

A file name of a Maildir (maildir(5); the sizes are those of Maildir++):

    file      = base [ ":" info ]                 ; info, as "2,S", belongs to mail readers
    base      = unique *( "," field )
    field     = "S=" octets                       ; of the file
              / "W=" octets                       ; with CRLF line ends
              / "U=1"                             ; UTF-8 in a header: POP3 may need a surrogate
              / "UIDL=" uid                       ; the last field: the unique-id on another server

An imported message keeps the unique-id that it had, so that POP3 clients do not fetch it again. The name of
the file is the place for it: it is written together with the message, and no copy of the mailbox loses it.

In the names of this server, W is the size that POP3 sends. It is two octets more than S for a message that
does not end in CRLF, because the protocol completes its last line. Otherwise it is the same as S.
"""

import os
import re
import secrets
import time
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b

from mailserver.errors import AddressError, StorageError
from mailserver.mail.address import Address, parse_domain
from mailserver.mail.names import folder_name

MAX_UID = 70  # RFC 1939 section 7

_UNSAFE_IN_HOST = re.compile(rb"[^A-Za-z0-9._-]")
_UNIQUE = r"[0-9]+\.M[0-9]{6}P[0-9]+Q[0-9]+R[0-9a-f]{12}\."
UTF8 = ",U=1"
"""The field of a base name of this server if there is UTF-8 in a header."""
_OWN = re.compile(_UNIQUE)
_STORED = re.compile(rf"({_UNIQUE}[^,]*),S=([0-9]{{1,18}}),W=([0-9]{{1,18}})(?:{UTF8})?(?:,UIDL=[^,]+)?")
_SIZES = {letter: re.compile(rf",{letter}=([0-9]{{1,18}})(?![^,])") for letter in "SW"}
_UID = re.compile(r"[\x21-\x7e]{1,70}")
_KEPT = re.compile(r",UIDL=([^,]+)\Z")
_PLAIN_IN_KEPT = "!\"#$&'()*+;<=>?@[\\]^`{|}"  # beside letters, digits and _.-~
_DIGEST = re.compile(r"x[0-9a-f]{40}")
_ORDER = re.compile(r"([0-9]+)(?:\.M([0-9]+)P[0-9]+(?:Q([0-9]+))?)?")


@lru_cache(maxsize=10_000)
def mailbox_path(mailbox: Address) -> str:
    """The path of a mailbox below the root. Addresses that differ only in case have the same path.

    Raises :class:`~mailserver.errors.StorageError` for a name that is impossible for a folder.
    """
    try:
        return f"{folder_name(mailbox.domain)}/{folder_name(mailbox.local)}"
    except AddressError as error:
        raise StorageError(str(error)) from None


def written(path: str) -> str:
    """The path that :func:`mailbox_path` gives to the mailbox at ``path``: the same if the path is correct.

    Raises :class:`~mailserver.errors.StorageError` for a name that is impossible for a folder.
    """
    domain, _, local = (urllib.parse.unquote(part, errors="surrogateescape") for part in path.partition("/"))
    with suppress(AddressError):
        domain = parse_domain(domain)
    return mailbox_path(Address(local, domain).key)


class UniqueNames:
    """Makes names that are unique for ever, also among processes and hosts.

    ``clock`` gives nanoseconds since the epoch. If it stops or goes back, a counter and 48 random bits keep
    the names unique. For one thread only.
    """

    __slots__ = ("_clock", "_count", "_host", "_random")

    def __init__(self, hostname: str, clock: Callable[[], int] = time.time_ns) -> None:
        self._host = _UNSAFE_IN_HOST.sub(lambda match: b"\\%03o" % match[0][0], hostname.encode()).decode()
        self._clock = clock
        self._random = secrets.token_hex(6)
        self._count = 0

    def next(self) -> str:
        """The unique part of a file name, 1 to 70 octets."""
        self._count += 1
        seconds, nanoseconds = divmod(self._clock(), 1_000_000_000)
        number = f"{seconds}.M{nanoseconds // 1000:06}P{os.getpid()}Q{self._count}R{self._random}"
        return f"{number}.{self._host}"[:MAX_UID]


def with_sizes(unique: str, octets: int, sent: int, *, utf8: bool = False) -> str:
    """The base name of a new file. The docstring of the module explains S, W and U."""
    return f"{unique},S={octets},W={sent}{UTF8 if utf8 else ''}"


def base_name(name: str) -> str:
    """The part of a file name that stays when a mail reader sets flags."""
    return name.partition(":")[0]


def is_own(base: str) -> bool:
    """Whether this server made the name. Another program may have changed the file."""
    return _OWN.match(base) is not None


def own_sizes(base: str) -> tuple[int, int] | None:
    """S and W of a name made by :func:`with_sizes`, None for any other name."""
    if "," not in base or (match := _STORED.fullmatch(base)) is None:
        return None
    stored, sent = int(match[2]), int(match[3])
    return (stored, sent) if sent in (stored, stored + 2) else None


def claimed_sizes(base: str) -> tuple[int, int] | None:
    """S and W of any name, None unless it has both."""
    stored, sent = _SIZES["S"].search(base), _SIZES["W"].search(base)
    return (int(stored[1]), int(sent[1])) if stored and sent else None


def order(base: str) -> str:
    """The sort key of a message: the time in its name, then the name; names without a time come last.

    The key is a string, which is less work for the garbage collector than a tuple. Each number follows its
    length, so that 9 sorts before 10.
    """
    match = _ORDER.match(base)
    if match is None:
        return f"\u0100{base}"
    seconds, microseconds, count = [(number or "").lstrip("0") for number in match.groups()]
    return f"{chr(len(seconds))}{seconds}{chr(len(microseconds))}{microseconds}{chr(len(count))}{count}{base}"


def unique_part(base: str) -> str:
    """The part of a base name before its fields."""
    return base.partition(",")[0]


def has_utf8(base: str) -> bool:
    """Whether a name of this server says that there is UTF-8 in a header."""
    return UTF8 in base


def is_uid(text: str) -> bool:
    """Whether a text is a valid unique-id (RFC 1939 section 7)."""
    return _UID.fullmatch(text) is not None


def with_uid(base: str, uid: str) -> str:
    """The base name of an imported message that keeps its unique-id."""
    return f"{base},UIDL={urllib.parse.quote(uid, safe=_PLAIN_IN_KEPT)}"


def kept_uid(base: str) -> str | None:
    """The unique-id that :func:`with_uid` has put into a name, None if there is no valid one."""
    if (match := _KEPT.search(base)) is None:
        return None
    kept = urllib.parse.unquote(match[1], errors="surrogateescape")
    return kept if is_uid(kept) else None


def uid(base: str) -> str:
    """The unique-id (RFC 1939 section 7): one that the name keeps, the unique part of a name of this server,
    or the whole base name of a foreign file.

    It depends only on the name and not on other files, so it never changes and never identifies another
    message. Names of this server with other fields, and names that are no valid unique-id, get a digest.
    """
    if ",UIDL=" in base and (kept := kept_uid(base)) is not None:
        return kept
    if (match := _STORED.fullmatch(base)) is not None:
        return match[1]
    valid = _UID.fullmatch(base) and not _DIGEST.fullmatch(base) and not is_own(base)
    return base if valid else digest(base)


def digest(base: str) -> str:
    """The unique-id for a file whose name is no valid unique-id."""
    return "x" + blake2b(os.fsencode(base), digest_size=20).hexdigest()
