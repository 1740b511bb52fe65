"""The section [relay]: mail for other servers. It has no effect yet."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from mailserver.config.schema.dns_kinds import DNS_NAME
from mailserver.config.schema.kinds import Context, ListOf, MapOf
from mailserver.config.schema.mail_kinds import (
    DESTINATION,
    DESTINATION_OR_NONE,
    DOMAIN,
    NETWORK,
    PATH_OR_NONE,
    TEXT_OR_NONE,
    Network,
)
from mailserver.config.schema.problems import KeyProblem, show
from mailserver.config.schema.scalars import Boolean, Choice
from mailserver.config.schema.tables import key

RelayTls = Literal["none", "opportunistic", "required"]


@attrs.frozen(kw_only=True)
class RelaySection:
    """``smarthost`` is empty for delivery by MX. The keys of ``routes`` are normalised domains."""

    networks: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Networks of clients that may relay without authentication. No effect yet: mail for other servers "
        "is rejected.",
        default=["127.0.0.0/8", "::1"],
    )
    smarthost: str = key(
        DESTINATION_OR_NONE,
        "Server that receives all mail for other servers. No effect yet.",
        default="",
        note="delivery by MX",
        example="smtp.example.net:587",
    )
    routes: Mapping[str, str] = key(
        MapOf(DOMAIN, DESTINATION, f"a table from domains to destinations: {DESTINATION.allowed}"),
        "Servers that receive the mail for single domains. No effect yet.",
        default={},
        example={"example.net": "lmtp:unix:/run/lmtp.sock"},
    )
    domains: tuple[str, ...] = key(
        ListOf(DNS_NAME, may_be_empty=True),
        "Domains of other servers whose mail this server accepts and passes on. No effect yet.",
        default=[],
        example=["example.net"],
    )
    tls: RelayTls = key(
        Choice[RelayTls](get_args(RelayTls)),
        "TLS to other servers: never (none), if the other server offers it (opportunistic), or always "
        "(required); then mail for servers without TLS is deferred. No effect yet.",
        default="opportunistic",
    )
    smarthost_user: str = key(
        TEXT_OR_NONE,
        "Name for the login at the smarthost. It requires a smarthost and smarthost_password_file. No effect "
        "yet.",
        default="",
        note="no login",
    )
    smarthost_password_file: Path | None = key(
        PATH_OR_NONE,
        "File whose first line is the password for the login at the smarthost. Other users must not be able "
        "to read it. No effect yet: the file is not read, and need not exist.",
        default="",
        note="no login",
    )
    allow_private: bool = key(
        Boolean(),
        "Permission to deliver to private and loopback addresses that DNS names for a domain. No effect yet.",
        default=False,
    )


def check_relay(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    for index, domain in enumerate(values.get("domains", ())):
        if domain in (context.domains or ()):
            text = f"{show(domain)} has mailboxes on this server; allowed: domains of other servers"
            yield KeyProblem(context.below("domains").item(index).key, text)
    if not {"smarthost", "smarthost_user", "smarthost_password_file"} <= values.keys():
        return
    user, file = values["smarthost_user"], values["smarthost_password_file"]
    if user and file is None:
        text = "the key is missing; allowed: a path, or no smarthost_user"
        yield KeyProblem(context.below("smarthost_password_file").key, text)
    if file is not None and not user:
        text = "the key is missing; allowed: a name, or no smarthost_password_file"
        yield KeyProblem(context.below("smarthost_user").key, text)
    if user and not values["smarthost"]:
        text = "a login requires a smarthost; allowed: only with relay.smarthost"
        yield KeyProblem(context.below("smarthost_user").key, text)
