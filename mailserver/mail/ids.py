"""Message identifiers: unique for good, short, safe in file names, logs and header fields."""

import secrets
import time
from collections.abc import Callable

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing to misread


def _base32(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def new_id(clock: Callable[[], float] = time.time, random: Callable[[int], int] = secrets.randbits) -> str:
    """A new identifier of 16 characters: milliseconds, then 35 random bits.

    The time in front makes identifiers sort by age; the random part keeps them apart when the
    clock stands still or goes back.
    """
    return _base32(int(clock() * 1000), 9) + _base32(random(35), 7)
