"""What the history of contacts calls a known sender: the keys of its entries, and what they mean."""

import ipaddress
import math
import re

from mailserver.mail.address import Address
from mailserver.mail.seen import Seen, SeenKey
from mailserver.mail.verdict import NOT_AUTHORIZED, Defer
from mailserver.policy.history import Found, History, see, written_key
from mailserver.policy.strangers import client_address

GOOD_NETWORK = 5  # senders of a network or a proved domain, after which all of them pass

# Parts of a local part that differ from message to message: numbers, what looks like a hash, and the tags of
# BATV, SRS and plus addresses.
_VARIABLE = re.compile(r"\b[0-9a-f]*[0-9][0-9a-f]*\b")
_TAG = re.compile(r"^prvs=[^=]*=|^srs[01][=+-][^=]*=[^=]*=|\+.*$")


def network_of(ip: str) -> str:
    """The network of a client: a /24 of IPv4, a /64 of IPv6."""
    address = client_address(ip)
    return str(ipaddress.ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False))


def known_keys(origin: str, sender: Address) -> tuple[SeenKey, SeenKey, SeenKey]:
    """The entries that make a sender known. ``origin`` is a network, or a domain that is proved by SPF or
    DKIM."""
    return written_key(sender), ("passed", joined(origin, pattern_of(sender))), ("network", origin)


def is_known(found: Found) -> bool:
    """Whether the entries of these keys make a sender known."""
    return any(
        kind in ("written", "passed") or (kind == "network" and seen.count >= GOOD_NETWORK)
        for (kind, _), seen in found.items()
    )


def pattern_of(sender: Address) -> str:
    """The sender without the parts that differ from message to message, such as those of VERP."""
    local = _TAG.sub("", sender.key.local)
    return f"{_VARIABLE.sub('#', local)}@{sender.domain}"


def joined(*parts: str) -> str:
    """A key of several parts."""
    return " ".join(parts)


def make_known(history: History, found: Found, keys: tuple[SeenKey, SeenKey, SeenKey], now: float) -> None:
    """A sender is known from now on. ``keys`` are those of :func:`known_keys`, and ``found`` has their
    entries."""
    _, passed, network = keys
    history.record(passed, Seen(now, now))
    known = found.get(network)
    history.record(network, Seen(now, now, known.count + 1 if known is not None else 1))


def stay_known(history: History, found: Found, keys: tuple[SeenKey, ...], now: float) -> None:
    """A known sender stays known."""
    for key in keys:
        if key in found:
            see(history, key, found[key], now)


def wait(reason: str, seconds: float, key: str) -> Defer:
    """The verdict on a sender that must wait."""
    left = math.ceil(seconds)
    unit = "second" if left == 1 else "seconds"
    return Defer(NOT_AUTHORIZED, f"{reason}: please try again in {left} {unit}", key)
