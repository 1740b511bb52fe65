"""Message identifiers: unique, short, and safe in file names, logs and header fields."""

import time
from collections.abc import Callable
from random import getrandbits

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no similar characters
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]


def new_id(clock: Callable[[], float] = time.time, random: Callable[[int], int] = getrandbits) -> str:
    """A new identifier of 16 characters: milliseconds, then 35 random bits.

    The time makes identifiers sort by age. The random bits keep them unique if the clock stops or goes back.
    Identifiers are not secret and can be guessed.
    """
    number = (int(clock() * 1000) << 35) | random(35)
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(70, -10, -10)])
