"""The accounts, aliases and lists in force, as one value.

The value may be computed in any thread. A changed account costs one read and a copy of the tables that
contain it; only a change of names costs more.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import attrs

from mailserver.accounts.directory import Account, AccountDirectory
from mailserver.accounts.entries import AccountChanges, StoredNames
from mailserver.accounts.passwords import StoredPassword
from mailserver.app.routes import quotas, retentions, routing_table
from mailserver.commands.account_admin import names_taken
from mailserver.config.keys.top_level import Config
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from mailserver.mail.retention import Retention
from mailserver.routing.table import RoutingTable

T = TypeVar("T")


@attrs.frozen
class EffectiveAccounts:
    """The value for one configuration and one state of the account store.

    ``stored`` and ``names`` are from the account store, by key; ``taken`` are the names of the
    configuration. ``problems`` are for the log.
    """

    config: Config
    stored: Mapping[Address, Account]
    names: StoredNames
    taken: Mapping[Address, str]
    directory: AccountDirectory
    table: RoutingTable
    quotas: Mapping[Address, Quota]
    retentions: Mapping[Address, Retention]
    problems: frozenset[str]

    @classmethod
    def of(cls, config: Config, stored: Mapping[Address, Account], names: StoredNames) -> "EffectiveAccounts":
        """From a configuration, and the whole content of the account store."""
        taken = names_taken(config)
        accounts = [stored[one] for one in stored if _is_served(one, config, taken)]
        directory = AccountDirectory([*_configured(config), *accounts], config.domains[0])
        return cls._of(config, stored, names, taken, directory)

    @classmethod
    def _of(
        cls,
        config: Config,
        stored: Mapping[Address, Account],
        names: StoredNames,
        taken: Mapping[Address, str],
        directory: AccountDirectory,
    ) -> "EffectiveAccounts":
        table = routing_table(config, names)
        problems = [problem.text for problem in table.problems]
        problems += [
            f"{one} is in the account store, too, where it is not in force" for one in taken if one in stored
        ]
        return cls(
            config,
            stored,
            names,
            taken,
            directory,
            table,
            quotas(config, names),
            retentions(config, names),
            frozenset(problems),
        )

    def after(self, changes: AccountChanges) -> "EffectiveAccounts":
        """With other names and accounts in the store."""
        stored = dict(self.stored)
        served: dict[Address, Account | None] = {}
        others = any(self.names.aliases.get(key) != to for key, to in changes.aliases.items())
        others = others or any(self.names.lists.get(key) != one for key, one in changes.lists.items())
        for key, account in changes.accounts.items():
            before = stored.pop(key, None)
            if account is not None:
                stored[key] = account
            others = others or (before and before.address) != (account and account.address)
            if _is_served(key, self.config, self.taken):
                served[key] = account
        directory = self.directory.changed(served)
        if not others:
            return attrs.evolve(self, stored=stored, directory=directory)
        names = StoredNames(
            tuple(stored[key].address for key in sorted(stored, key=str)),
            _changed(self.names.aliases, changes.aliases),
            _changed(self.names.lists, changes.lists),
        )
        return self._of(self.config, stored, names, self.taken, directory)


def _is_served(key: Address, config: Config, taken: Mapping[Address, str]) -> bool:
    return key not in taken and key.domain in config.domains


def _configured(config: Config) -> Iterable[Account]:
    for one in config.accounts:
        password = StoredPassword.read(one.password.reveal())
        yield Account(one.address, None if password.scheme == "none" else password)


def _changed(before: Mapping[Address, T], changes: Mapping[Address, T | None]) -> dict[Address, T]:
    after = {key: value for key, value in before.items() if key not in changes}
    return after | {key: value for key, value in changes.items() if value is not None}
