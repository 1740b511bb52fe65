"""Variable envelope return paths (VERP): a bounce address that names the member of a list.

    NAME-bounces "+" local-part "=" domain "@" us

A bounce that says nothing useful still tells by its address who did not get the message. Routing needs no
rule for these addresses: what follows the "+" is the detail of NAME-bounces.
"""

from mailserver.mail.address import MAX_LOCAL_PART, Address


def verp_path(bounces: Address, member: Address) -> Address:
    """The reverse-path of the copy for ``member``: ``bounces`` itself if the other one is too long."""
    local = f"{bounces.local}+{member.local}={member.domain}"
    return bounces if len(local.encode()) > MAX_LOCAL_PART else Address(local, bounces.domain)
