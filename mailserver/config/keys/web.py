"""The section [web]: who may do what by HTTP."""

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import attrs

from mailserver.config.keys.listen import ListenSection
from mailserver.config.schema.endpoints import is_local
from mailserver.config.schema.kinds import Context, ListOf
from mailserver.config.schema.mail_kinds import ADDRESS, DOMAIN
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Boolean, Choice
from mailserver.config.schema.tables import key
from mailserver.mail.address import Address

StsMode = Literal["off", "none", "testing", "enforce"]


@attrs.frozen(kw_only=True)
class WebSection:
    """The listeners with protocol "web"."""

    administrators: tuple[Address, ...] = key(
        ListOf(ADDRESS, may_be_empty=True),
        "Accounts that may see all mailboxes, and change accounts and the queue, with their own passwords. "
        "Other accounts see only their own mailbox.",
        default=[],
        example=["alice"],
    )
    open: bool = key(
        Boolean(),
        "Permission for all programs on this machine to act as an administrator without a login, for "
        "development. It requires that each web listener is on a loopback interface or a unix socket.",
        default=False,
    )
    mta_sts: StsMode = key(
        Choice[StsMode](get_args(StsMode)),
        "Mode of the MTA-STS policy (RFC 8461) that the web listeners serve at "
        "https://mta-sts.DOMAIN/.well-known/mta-sts.txt for each of the domains; off: no policy. The policy "
        "names this server as the only MX.",
        default="off",
    )
    names: tuple[str, ...] = key(
        ListOf(DOMAIN, may_be_empty=True),
        "Further names of this server in URLs, besides hostname, localhost and its addresses. Requests for "
        "other names are rejected.",
        default=[],
        example=["webmail.example.org"],
    )


def check_web(
    section: WebSection | None, listeners: Sequence[ListenSection], context: Context
) -> Iterator[KeyProblem]:
    """The problems of the section with the listeners."""
    if section is None or not section.open:
        return
    for number, listen in enumerate(listeners, 1):
        if listen.protocol == "web" and not is_local(listen.endpoint):
            text = f"listen[{number}] is not on a loopback interface; allowed: false, or only such listeners"
            yield KeyProblem(context.below("open").key, text)
