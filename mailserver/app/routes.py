"""The names that mail can be sent to, and the quotas, from the configuration and the account store."""

from collections.abc import Mapping

import attrs

from mailserver.accounts.entries import StoredNames
from mailserver.config.keys.top_level import Config
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from mailserver.mail.retention import Retention
from mailserver.routing.table import MailingList, Names, RoutingTable


def routing_table(config: Config, stored: StoredNames = StoredNames()) -> RoutingTable:  # noqa: B008 - frozen
    """The names that the configuration and the account store make known.

    If both have a name, the configuration takes precedence: it may have been added there later.
    """
    names = Names(
        domains=config.domains,
        accounts=[account.address for account in config.accounts],
        aliases={alias.address: alias.to for alias in config.aliases},
        announced=[alias.address for alias in config.aliases if alias.announce],
        lists={one.address: MailingList(one.members, one.owner, one.verp) for one in config.lists},
        moved={moved.address: moved.to for moved in config.moved},
        catch_all=config.catch_all,
        postmaster=config.postmaster,
    )
    taken = {address.key for address in (*names.accounts, *names.aliases, *names.lists, *names.moved)}

    def new(address: Address) -> bool:
        return address.key not in taken and address.domain in config.domains

    return RoutingTable(
        attrs.evolve(
            names,
            accounts=[*names.accounts, *filter(new, stored.accounts)],
            aliases={**names.aliases, **{one: to for one, to in stored.aliases.items() if new(one)}},
            lists={
                **names.lists,
                **{one: MailingList(to.members, to.owner) for one, to in stored.lists.items() if new(one)},
            },
        )
    )


def retentions(config: Config, stored: StoredNames = StoredNames()) -> Mapping[Address, Retention]:  # noqa: B008 - frozen
    """How long the messages of an account stay, by its key, for the accounts whose messages expire."""
    found = {address.key: config.pop3.expire for address in stored.accounts}
    for account in config.accounts:
        found[account.address.key] = config.pop3.expire if account.expire is None else account.expire
    return {mailbox: retention for mailbox, retention in found.items() if retention.days}


def quotas(config: Config, stored: StoredNames = StoredNames()) -> Mapping[Address, Quota]:  # noqa: B008 - frozen
    """The quotas of the accounts that have one, by their keys."""
    default = Quota(config.storage.quota, config.storage.quota_messages)
    found = {address.key: default for address in stored.accounts}
    for account in config.accounts:
        found[account.address.key] = Quota(
            default.octets if account.quota is None else account.quota,
            default.messages if account.quota_messages is None else account.quota_messages,
        )
    return {mailbox: quota for mailbox, quota in found.items() if quota != Quota()}
