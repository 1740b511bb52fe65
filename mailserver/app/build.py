"""From the configuration to what each room is made with.

Problems that a room finds are raised as :class:`ConfigurationError`, in the form of the other
configuration errors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs
from twisted.internet.defer import DeferredLock

from mailserver.auth.account_rows import KeptNames
from mailserver.config.endpoints import check_parts, explain
from mailserver.config.model import Config, Listen
from mailserver.config.problems import Refused, dotted
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.durable.room import require_room
from mailserver.errors import ConfigurationError
from mailserver.interfaces import IMailboxStore, IReactor, Quota
from mailserver.mail.address import Address
from mailserver.net.endpoints import server_endpoint
from mailserver.queue.runner import Schedule
from mailserver.queue.spool import Spool
from mailserver.routing.table import BOUNCES, POSTMASTER, MailingList, Names, RoutingTable
from mailserver.store.maildir import MaildirStore
from mailserver.store.memory import MemoryStore
from mailserver.store.quota import QuotaOf

SERVED = ("smtp", "submission", "pop3")
ENGINES = ("maildir", "memory")
# Nobody can connect to the one; the other greets before it knows who is there, and proxies are named
# by listen.proxies.
NOT_LISTENED = ("stdio", "haproxy")


def routing_table(config: Config, kept: KeptNames = KeptNames()) -> RoutingTable:  # noqa: B008 - frozen
    """The names that the configuration and the account store make known.

    A name that both have is the configuration's: it may have got there later.
    """
    names = Names(
        domains=config.domains,
        accounts=[account.address for account in config.accounts],
        aliases={alias.address: alias.to for alias in config.aliases},
        announced=[alias.address for alias in config.aliases if alias.announce],
        lists={one.address: MailingList(one.members, one.owner) for one in config.lists},
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
            accounts=[*names.accounts, *filter(new, kept.accounts)],
            aliases={**names.aliases, **{one: to for one, to in kept.aliases.items() if new(one)}},
            lists={
                **names.lists,
                **{one: MailingList(to.members, to.owner) for one, to in kept.lists.items() if new(one)},
            },
        )
    )


def quotas(config: Config, kept: KeptNames = KeptNames()) -> Mapping[Address, Quota]:  # noqa: B008 - frozen
    """The quotas of the accounts that have one, by their keys."""
    default = Quota(config.storage.quota, config.storage.quota_messages)
    found = {address.key: default for address in kept.accounts}
    for account in config.accounts:
        found[account.address.key] = Quota(
            default.octets if account.quota is None else account.quota,
            default.messages if account.quota_messages is None else account.quota_messages,
        )
    return {mailbox: quota for mailbox, quota in found.items() if quota != Quota()}


def mailbox_store(
    config: Config,
    disk: Disk,
    damaged: DamagedFolder,
    quota_of: QuotaOf,
    reactor: IReactor,
    heavy: DeferredLock,
) -> IMailboxStore:
    """The store that the configuration names; ``heavy`` is held by work that keeps a thread busy."""
    if config.storage.engine == "memory":
        return MemoryStore(quota_of)
    return MaildirStore(
        config.data / "mail",
        config.hostname,
        disk,
        reactor,
        damaged=damaged,
        quota_of=quota_of,
        reserve=config.storage.reserve,
        heavy=heavy,
    )


def spool(
    config: Config,
    store: IMailboxStore,
    disk: Disk,
    damaged: DamagedFolder,
    first_retry: Callable[[], float],
    reactor: IReactor,
) -> Spool:
    """The spool in front of the store, of the same kind."""
    in_memory = config.storage.engine == "memory"
    return Spool(
        store,
        None if in_memory else queue_file(config.data),
        config.data / "tmp",
        disk,
        damaged,
        reactor,
        first_retry=first_retry,
        check_room=partial(require_room, config.data / "tmp", config.storage.reserve),
    )


def queue_file(data: Path) -> Path:
    """The database of the spool."""
    return data / "spool" / "queue.db"


def schedule(config: Config) -> Schedule:
    """When what could not be delivered is tried again."""
    return Schedule(config.queue.retry, config.queue.expire_after)


def check(path: Path, config: Config, kept: KeptNames, reactor: IReactor) -> None:
    """Let the rooms look at what only they can judge: raise :class:`ConfigurationError` with all of it.

    What is wrong with ``kept`` names alone stops nobody.
    """
    found = set(routing_table(config, kept).problems)
    places = _places(config)
    problems = [
        f"{places[one.owner]}: {one.text}" if one.owner in places else one.text
        for one in dict.fromkeys(routing_table(config).problems)
        if one in found
    ]
    if config.storage.engine not in ENGINES:
        problems.append(f"storage.engine: {_not_served(config.storage.engine, ENGINES)}")
    for number, listen in enumerate(config.listen, 1):
        problems += [f"listen[{number}].{problem}" for problem in _listen_problems(listen, reactor)]
    if problems:
        raise ConfigurationError([f"{path}: {problem}" for problem in problems])


def _places(config: Config) -> Mapping[str, str]:
    """The keys that say where mail for a name goes."""
    places = {f"{POSTMASTER}@{domain}": "postmaster" for domain in config.domains}
    places |= {domain: dotted("catch_all", domain) for domain in config.catch_all}
    for number, one in enumerate(config.lists, 1):
        bounces = Address(f"{one.address.local}{BOUNCES}", one.address.domain)
        places[str(bounces.key)] = f"list[{number}].owner"
    places |= {str(one.address.key): f"moved[{number}]" for number, one in enumerate(config.moved, 1)}
    places |= {str(one.address.key): f"alias[{number}].to" for number, one in enumerate(config.aliases, 1)}
    places |= {str(one.address.key): f"list[{number}].members" for number, one in enumerate(config.lists, 1)}
    return places


def _listen_problems(listen: Listen, reactor: IReactor) -> Iterator[str]:
    if listen.protocol not in SERVED:
        yield f"protocol: {_not_served(listen.protocol, SERVED)}"
    kind = listen.endpoint.partition(":")[0]
    if kind in NOT_LISTENED:
        yield f'endpoint: "{kind}:" is not served by this version; allowed: tcp:, tcp6:, unix:, systemd:'
        return
    try:
        check_parts(listen.endpoint)
        server_endpoint(reactor, listen.endpoint)
    except Refused as error:
        yield f"endpoint: {error.what}; allowed: {error.allowed}"
    except Exception as error:  # noqa: BLE001 - each kind of endpoint has errors of its own
        yield f'endpoint: "{listen.endpoint}" cannot be used: {explain(listen.endpoint, error)}'


def _not_served(value: str, allowed: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in allowed)
    return f'"{value}" is not served by this version; allowed: {names}'
