"""Credentials for twisted.cred: passwords, bearer tokens, verified names and verified certificates.

``acting_as`` is an authorization identity (RFC 4422 section 2), or "" for the default. It must mean the
account that logs in, as no account may act as another. ``client`` is a key for the client's address, or "" if
it is unknown; logins are scheduled fairly among clients (see ``threads.fair``).
"""

import hmac
from collections.abc import Sequence

import attrs
from twisted.cred.credentials import ICredentials, UsernamePassword
from zope.interface import Attribute, implementer


class NamedPassword(UsernamePassword):
    """A name and a password as the client sent them. Provides IUsernamePassword."""

    def __init__(self, name: str, password: str, acting_as: str = "", client: str = "") -> None:
        super().__init__(name.encode(errors="surrogateescape"), password.encode(errors="surrogateescape"))
        self.acting_as = acting_as
        self.client = client

    def checkPassword(self, password: bytes) -> bool:
        """See IUsernamePassword. Compares in constant time."""
        return hmac.compare_digest(self.password, password)


class IBearerToken(ICredentials):
    """A bearer token (RFC 6750). Its issuer has signed a name into it."""

    token: str = Attribute("the token")
    name: str = Attribute('the name that the client sent with the token, or ""')


class IProvenName(ICredentials):
    """A name whose proof has been verified already, by SCRAM, CRAM-MD5 or APOP."""

    name: str = Attribute("the name that was proved")
    acting_as: str = Attribute("the authorization identity")


class IVouchedAddresses(ICredentials):
    """The addresses in a client certificate that TLS has verified, for EXTERNAL."""

    addresses: Sequence[str] = Attribute("the addresses, at least one")
    acting_as: str = Attribute('the authorization identity, "" for the first address')


@implementer(IBearerToken)
@attrs.frozen
class BearerToken:
    """See :class:`IBearerToken`."""

    token: str = attrs.field(repr=False)
    name: str = ""


@implementer(IProvenName)
@attrs.frozen
class ProvenName:
    """See :class:`IProvenName`."""

    name: str
    acting_as: str = ""


@implementer(IVouchedAddresses)
@attrs.frozen
class VouchedAddresses:
    """See :class:`IVouchedAddresses`."""

    addresses: Sequence[str]
    acting_as: str = ""
