"""Trace fields: what this server writes in front of a message (RFC 5321 section 4.4).

    Time-stamp-line = "Received:" FWS From-domain By-domain Opt-info [CFWS] ";" FWS date-time CRLF
    From-domain     = "FROM" FWS Extended-Domain
    Return-path-line = "Return-Path:" FWS Reverse-path CRLF

Nothing here reads a clock: the time is always given.
"""

from email.utils import formatdate
from functools import lru_cache

from mailserver.mail.address import Address, ReversePath, format_path


def address_literal(ip: str) -> str:
    """An IP address as an address literal (RFC 5321 section 4.1.3)."""
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"


# Many messages come within one second.
@lru_cache(maxsize=1)
def _date_time(second: int) -> str:
    return formatdate(second, localtime=True)


def received(
    *,
    helo: str,
    client_ip: str,
    hostname: str,
    protocol: str,
    id: str,
    recipients: tuple[Address, ...],
    when: float,
) -> bytes:
    """The Received field of this hop, CRLF at its end.

    ``client_ip`` is empty for a client that has none (a unix socket); ``protocol`` is a keyword of
    RFC 3848; ``when`` is seconds since the epoch. ``for`` stands only
    with a single recipient: naming one of several would tell the others (RFC 5321 section 7.2).
    """
    client = f" ({address_literal(client_ip)})" if client_ip else ""
    only = f"\r\n\tfor {format_path(recipients[0])}" if len(recipients) == 1 else ""
    return (
        f"Received: from {helo}{client}\r\n"
        f"\tby {hostname} with {protocol} id {id}{only};\r\n"
        f"\t{_date_time(int(when))}\r\n"
    ).encode()


def final_delivery(reverse_path: ReversePath, delivered_to: Address | None) -> bytes:
    """The fields that only final delivery adds: Return-Path, and Delivered-To for people and filters."""
    field = f"Delivered-To: {delivered_to}\r\n" if delivered_to else ""
    return f"Return-Path: {format_path(reverse_path)}\r\n{field}".encode()
