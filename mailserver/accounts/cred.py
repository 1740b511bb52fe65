"""What clients prove themselves with, as credentials for twisted.cred: passwords and what is none.

``acting_as`` is an authorization identity (RFC 4422 section 2), "" for that of the name; nobody acts
as another here, so all it can do is to agree. ``client`` stands for where the client is, "" if nobody
knows; logins of one client wait for each other and for nobody else (see ``threads.fair``).
"""

import hmac
from collections.abc import Sequence

import attrs
from twisted.cred.credentials import ICredentials, UsernamePassword
from zope.interface import Attribute, implementer


class NamedPassword(UsernamePassword):
    """A name and a password, both as the client gave them. Provides IUsernamePassword."""

    def __init__(self, name: str, password: str, acting_as: str = "", client: str = "") -> None:
        super().__init__(name.encode(errors="surrogateescape"), password.encode(errors="surrogateescape"))
        self.acting_as = acting_as
        self.client = client

    def checkPassword(self, password: bytes) -> bool:
        """See IUsernamePassword; the time tells nothing about the password."""
        return hmac.compare_digest(self.password, password)


class IBearerToken(ICredentials):
    """A bearer token (RFC 6750), which tells a name to whoever can check it."""

    token: str = Attribute("the token")
    name: str = Attribute('the name that the client says it belongs to, "" if it says none')


class IProvenName(ICredentials):
    """A name, and the proof has been seen already: SCRAM, CRAM-MD5, APOP."""

    name: str = Attribute("whose proof it was")
    acting_as: str = Attribute("the authorization identity")


class IVouchedAddresses(ICredentials):
    """Addresses that somebody else vouches for, and whoever that is has been verified: EXTERNAL."""

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
