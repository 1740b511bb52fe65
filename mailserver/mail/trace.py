"""The trace fields that this server writes before a message (RFC 5321 section 4.4).

    Time-stamp-line = "Received:" FWS From-domain By-domain Opt-info [CFWS] ";" FWS date-time CRLF
    From-domain     = "FROM" FWS Extended-Domain
    Extended-Domain = Domain / ( Domain FWS "(" TCP-info ")" ) / ( address-literal FWS "(" TCP-info ")" )
    Return-path-line = "Return-Path:" FWS Reverse-path CRLF

The caller passes the time.
"""

import re
from email.utils import formatdate
from functools import lru_cache

from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.xtext import to_utf8_xtext


def address_literal(ip: str) -> str:
    """An IP address as an address literal (RFC 5321 section 4.1.3)."""
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"


# Octets that dot-atom and no-fold-literal (RFC 5322 section 3) do not allow.
_ODD_IN_NAME = re.compile(rb"[^A-Za-z0-9!#$&'*+/=?^_`{|}~.-]|\A\.|\.(?=\.|\Z)")
_ODD_IN_LITERAL = re.compile(rb"[^A-Za-z0-9!#$&'*+/=?^_`{|}~.:-]")
_MAX_NAME = 255  # octets; even escaped, so many fit into a line (RFC 5322 section 2.1.1)


@lru_cache(maxsize=256)
def _written_name(helo: str) -> str:
    """The HELO name of a client in the form of an Extended-Domain.

    Other octets are percent-encoded, and long names are cut off. In ``helo``, octets that are not UTF-8 are
    surrogates.
    """
    raw = helo.encode("utf-8", "surrogateescape")[:_MAX_NAME]
    if raw[:1] == b"[" and raw[-1:] == b"]" and len(raw) > 1:
        return f"[{_escape(_ODD_IN_LITERAL, raw[1:-1])}]"
    return _escape(_ODD_IN_NAME, raw)


def _escape(odd: re.Pattern[bytes], raw: bytes) -> str:
    return odd.sub(lambda match: b"%%%02X" % match[0][0], raw).decode("ascii")


# Many messages arrive within one second.
@lru_cache(maxsize=1)
def date_time(second: int) -> str:
    """A second since the epoch as a date-time of RFC 5322 section 3.3, in the local time zone."""
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
    tls: str = "",
    hide_client: bool = False,
) -> bytes:
    """The Received field of this hop, with a CRLF at its end.

    ``helo`` is the HELO name of the client; if it is "", its address is used. ``client_ip`` is "" for a
    client without one (a unix socket). ``protocol`` is a keyword of RFC 3848 or RFC 6531. ``when`` is in
    seconds since the epoch. ``tls`` is a comment on the connection, such as ``TLSv1.3 with
    TLS_AES_256_GCM_SHA384``. The field has ``for`` only with a single recipient, because recipients must not
    see each other (RFC 5321 section 7.2). It never has a recipient outside ASCII, which some servers on the
    way could not take.

    With ``hide_client`` the field has neither the name nor the address of the client. The grammar requires a
    domain after ``from``, so the field has the server's own: the message then appears to start here. The
    field never names the account.
    """
    literal = address_literal(client_ip) if client_ip else ""
    name = _written_name(helo) or literal or "unknown"
    client = f" ({literal})" if literal else ""
    source = hostname if hide_client else f"{name}{client}"
    comment = f"\r\n\t({tls})" if tls else ""
    return (
        f"Received: from {source}\r\n"
        f"\tby {hostname} with {protocol} id {id}{comment}{_only(recipients)};\r\n"
        f"\t{date_time(int(when))}\r\n"
    ).encode()


def received_locally(
    *, uid: int, hostname: str, id: str, recipients: tuple[Address, ...], when: float
) -> bytes:
    """The Received field of a message that a program of the user ``uid`` has submitted on this machine.

    Like the field of Postfix it has neither ``from`` nor ``with``: there was no connection.
    """
    return (
        f"Received: by {hostname} (from userid {uid})\r\n"
        f"\tid {id}{_only(recipients)};\r\n"
        f"\t{date_time(int(when))}\r\n"
    ).encode()


def _only(recipients: tuple[Address, ...]) -> str:
    if len(recipients) != 1 or not recipients[0].local.isascii():
        return ""
    return f"\r\n\tfor {format_path(recipients[0])}"


def forwarded_by(address: Address) -> bytes:
    """The Delivered-To field of a message that an address here forwards to another server.

    It is always ASCII: the message may need no SMTPUTF8 otherwise.
    """
    return f"Delivered-To: {forwarder(address)}\r\n".encode()


def forwarder(address: Address) -> str:
    """The address in that field. An address outside ASCII has the form utf-8-addr-xtext of its key."""
    text = str(address)
    return text if text.isascii() else to_utf8_xtext(str(address.key))


def final_delivery(reverse_path: ReversePath, delivered_to: Address | None) -> bytes:
    """The fields that final delivery adds: Return-Path, and Delivered-To for people and filters."""
    field = f"Delivered-To: {delivered_to}\r\n" if delivered_to else ""
    return f"Return-Path: {format_path(reverse_path)}\r\n{field}".encode()
