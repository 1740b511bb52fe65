"""The negotiation: the version, what the filter may do, and which steps it wants to see.

Each side sends the command octet ``O`` with three numbers of 32 bits: version, actions, steps. The mail
server names all that it can do, and the filter what it wants of that.
"""

import struct
from enum import IntFlag

import attrs

from mailserver.errors import FilterFailed
from mailserver.policy.milter.packets import packet

VERSION = 6
OLDEST = 2
NEGOTIATE = b"O"

_OPTIONS = struct.Struct(">III")


class FilterAction(IntFlag):
    """What a filter may do to a message (SMFIF_*)."""

    ADD_HEADER = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENT = 0x04
    REMOVE_RECIPIENT = 0x08
    CHANGE_HEADER = 0x10
    QUARANTINE = 0x20
    CHANGE_SENDER = 0x40
    ADD_RECIPIENT_WITH_PARAMETERS = 0x80
    CHOOSE_MACROS = 0x100


OFFERED_ACTIONS = FilterAction.ADD_HEADER | FilterAction.CHANGE_HEADER | FilterAction.QUARANTINE


class FilterStep(IntFlag):
    """What a filter does not want to see, does not answer, or can do (SMFIP_*)."""

    NO_CONNECT = 0x01
    NO_HELO = 0x02
    NO_MAIL = 0x04
    NO_RCPT = 0x08
    NO_BODY = 0x10
    NO_HEADER = 0x20
    NO_END_OF_HEADER = 0x40
    SILENT_HEADER = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    REJECTED_RECIPIENTS = 0x800
    SILENT_CONNECT = 0x1000
    SILENT_HELO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RCPT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_END_OF_HEADER = 0x40000
    SILENT_BODY = 0x80000
    LEADING_SPACE = 0x100000  # the value of a field begins after the colon, not after a space


OFFERED_STEPS = FilterStep(0x1FFFFF) & ~FilterStep.REJECTED_RECIPIENTS


@attrs.frozen
class FilterOptions:
    """What the filter has chosen. ``actions`` may have some that it was not offered."""

    version: int
    actions: FilterAction
    steps: FilterStep


def offer() -> bytes:
    """The first packet of a mail server."""
    return packet(NEGOTIATE, _OPTIONS.pack(VERSION, OFFERED_ACTIONS, OFFERED_STEPS))


def read_options(command: bytes, data: bytes) -> FilterOptions:
    """Read the answer of the filter. Octets after the numbers are its choice of macros, and ignored.

    Raises :class:`~mailserver.errors.FilterFailed`.
    """
    if command != NEGOTIATE or len(data) < _OPTIONS.size:
        raise FilterFailed(f"no valid answer to the negotiation (command {command!r}, {len(data)} octets)")
    version, actions, steps = _OPTIONS.unpack_from(data)
    if not OLDEST <= version <= VERSION:
        raise FilterFailed(f"protocol version {version}; allowed: {OLDEST} to {VERSION}")
    return FilterOptions(version, FilterAction(actions), FilterStep(steps) & OFFERED_STEPS)
