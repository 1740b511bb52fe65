"""Faults of TLS by name.

The first kind needs another TLS context, which :func:`fault_options` makes: a certificate that a careful
client rejects, or a protocol that is too old. The second kind is an act of the session: the table says which,
and the rules of the fixture do it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions
from zope.interface import implementer

from mailserver.net.made_certificate import self_signed
from mailserver.net.pairs import Pair
from mailserver.net.tls import server_options
from mailserver.testing.authority import FixtureAuthority, with_loopback

OTHER_HOST = "other.example.test"
WEAK_BITS = 1024  # RSA; OpenSSL rejects fewer than 2048 bits at its security level 2


@attrs.frozen
class TLSFault:
    """One fault.

    ``has_context``: :func:`fault_options` makes its TLS context. ``verify_code``: the code of OpenSSL for the
    problem with the certificate (X509_V_ERR_...), 0 for none. ``act``: what the server does at the moment
    "tls", "hang" or "cut". ``hides``: the capabilities STARTTLS and STLS are not shown. ``smtp_reply`` and
    ``pop3_reply``: the reply to STARTTLS and to STLS, "" for the usual one.
    """

    about: str
    has_context: bool = False
    verify_code: int = 0
    act: str = ""
    hides: bool = False
    smtp_reply: str = ""
    pop3_reply: str = ""


TLS_FAULTS: Mapping[str, TLSFault] = {
    "expired": TLSFault("the certificate has expired", has_context=True, verify_code=10),
    "not-yet-valid": TLSFault("the certificate is not valid yet", has_context=True, verify_code=9),
    "wrong-host": TLSFault(f"the certificate is for {OTHER_HOST} only", has_context=True, verify_code=62),
    "self-signed": TLSFault("the certificate has signed itself", has_context=True, verify_code=18),
    "unknown-ca": TLSFault("a CA that nobody knows has signed it", has_context=True, verify_code=20),
    "weak-key": TLSFault(f"the key is RSA of {WEAK_BITS} bits", has_context=True, verify_code=66),
    "old-protocol": TLSFault("the server speaks TLS 1.0 and 1.1 only", has_context=True),
    "stalled": TLSFault("the server never answers the handshake", act="hang"),
    "cut": TLSFault("the connection is reset within the reply to the handshake", act="cut"),
    "refused": TLSFault(
        "STARTTLS or STLS is offered and then rejected",
        smtp_reply="454 4.7.0 TLS is temporarily unavailable",
        pop3_reply="-ERR [SYS/TEMP] TLS is temporarily unavailable",
    ),
    "not-advertised": TLSFault("STARTTLS or STLS works but is not offered", hides=True),
    "stripped": TLSFault(
        "STARTTLS or STLS is neither offered nor known, as if somebody in the middle had removed it",
        hides=True,
        smtp_reply="502 5.5.1 command not implemented",
        pop3_reply="-ERR unknown command",
    ),
}


def fault_options(name: str, authority: FixtureAuthority, hostname: str) -> IOpenSSLServerConnectionCreator:
    """The options for ``startTLS`` on a server of that host name, with the fault of that ``name``.

    Raises KeyError if the fault needs no context of its own.
    """
    return _OPTIONS[name](authority, with_loopback([hostname]))


_Names = tuple[str, ...]


def _expired(authority: FixtureAuthority, names: _Names) -> CertificateOptions:
    return server_options([authority.issue(names, timedelta(days=-30), timedelta(hours=-1))])


def _not_yet_valid(authority: FixtureAuthority, names: _Names) -> CertificateOptions:
    return server_options([authority.issue(names, timedelta(days=1), timedelta(days=30))])


def _wrong_host(authority: FixtureAuthority, names: _Names) -> CertificateOptions:
    return server_options([authority.issue([OTHER_HOST])])


def _self_signed(authority: FixtureAuthority, names: _Names) -> CertificateOptions:
    now = datetime.now(UTC)
    return server_options([self_signed(names, now - timedelta(days=1), now + timedelta(days=30))])


def _unknown_ca(authority: FixtureAuthority, names: _Names) -> CertificateOptions:
    return server_options([FixtureAuthority().issue(names)])


def _weak_key(authority: FixtureAuthority, names: _Names) -> "InsecureOptions":
    key = rsa.generate_private_key(public_exponent=65537, key_size=WEAK_BITS)
    return InsecureOptions(authority.issue(names, key=key))


def _old_protocol(authority: FixtureAuthority, names: _Names) -> "InsecureOptions":
    return InsecureOptions(authority.issue(names), latest=SSL.TLS1_1_VERSION)


_OPTIONS: dict[str, Callable[[FixtureAuthority, _Names], IOpenSSLServerConnectionCreator]] = {
    "expired": _expired,
    "not-yet-valid": _not_yet_valid,
    "wrong-host": _wrong_host,
    "self-signed": _self_signed,
    "unknown-ca": _unknown_ca,
    "weak-key": _weak_key,
    "old-protocol": _old_protocol,
}


@implementer(IOpenSSLServerConnectionCreator)
class InsecureOptions:
    """Makes server connections that OpenSSL allows at its lowest security level only.

    ``CertificateOptions`` loads the certificate before it sets the ciphers, and the level is a part of those.
    ``latest`` is the latest version of TLS, 0 for all.
    """

    def __init__(self, pair: Pair, latest: int = 0) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(latest)
        context.use_certificate(pair.certificate)
        context.use_privatekey(pair.private_key)
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """A connection that Twisted runs over the transport of ``protocol``."""
        return SSL.Connection(self._context, None)
