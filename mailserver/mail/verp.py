"""Variable envelope return paths (VERP): a bounce address that names the member of a list.

    NAME-bounces "+" local-part "=" domain "@" us

A bounce that says nothing useful still tells by its address who did not get the message.
"""

from mailserver.errors import AddressError
from mailserver.mail.address import MAX_LOCAL_PART, Address, parse_domain


def verp_path(bounces: Address, member: Address) -> Address:
    """The reverse-path of the copy for ``member``: ``bounces`` itself if the other one is too long."""
    local = f"{bounces.local}+{member.local}={member.domain}"
    return bounces if len(local.encode()) > MAX_LOCAL_PART else Address(local, bounces.domain)


def verp_member(bounces: Address, path: Address) -> Address | None:
    """The member that ``path`` names; None if it is no such path of the list with this bounce address."""
    prefix = f"{bounces.key.local}+"
    if path.domain != bounces.domain or not path.local.casefold().startswith(prefix):
        return None
    local, _, domain = path.local[len(bounces.local) + 1 :].rpartition("=")
    try:
        return Address(local, parse_domain(domain)) if local else None
    except AddressError:
        return None
