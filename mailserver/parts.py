"""From the configuration to what each room is made with.

A part of the composition root: ``service`` alone imports it. What the rooms find wrong is raised as
:class:`ConfigurationError`, in the form of the other configuration errors.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs
from twisted.internet.endpoints import serverFromString

from mailserver import __version__
from mailserver.auth.passwords import StoredPassword
from mailserver.config.model import Config, Listen
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.durable.room import require_room
from mailserver.errors import ConfigurationError
from mailserver.interfaces import IMailboxStore, IReactor, Quota
from mailserver.mail.address import Address
from mailserver.pop3.settings import Settings as POP3Settings
from mailserver.queue.runner import Schedule
from mailserver.queue.spool import Spool
from mailserver.routing.table import MailingList, Names, RoutingTable
from mailserver.smtp.settings import Settings as SMTPSettings
from mailserver.store.maildir import MaildirStore
from mailserver.store.memory import MemoryStore
from mailserver.store.quota import QuotaOf

SERVED = ("smtp", "pop3")
ENGINES = ("maildir", "memory")
# The client's address would be the proxy's; nobody can connect to it.
NOT_LISTENED = ("haproxy", "stdio")


@attrs.frozen
class Settings:
    """The settings of new sessions; timeouts in seconds."""

    smtp: SMTPSettings
    smtp_timeout: float
    smtp_transaction: float
    pop3_timeout: float
    _pop3: POP3Settings
    _plaintext_auth: bool | str

    def pop3(self, client_ip: str) -> POP3Settings:
        """The settings of a POP3 session, which depend on whether a password may come in the clear."""
        allowed = self._plaintext_auth
        if allowed == "loopback":
            allowed = not client_ip or ipaddress.ip_address(client_ip).is_loopback
        return attrs.evolve(self._pop3, user_login_allowed=True) if allowed else self._pop3


def settings(config: Config, hostname: str) -> Settings:
    """What the configuration says about sessions; ``hostname`` is the one since the start."""
    smtp = SMTPSettings(
        hostname=hostname,
        domain=config.domains[0],
        max_message_size=config.smtp.max_message_size,
        max_line_length=config.smtp.max_line_length,
        max_recipients=config.smtp.max_recipients,
        hop_limit=config.smtp.hop_limit,
        bare_newline=config.smtp.bare_newline,
        verify=config.smtp.verify,
        strict_syntax=config.smtp.strict_syntax,
        max_errors=config.smtp.max_errors,
    )
    pop3 = POP3Settings(hostname=hostname, version=__version__)
    return Settings(
        smtp=smtp,
        smtp_timeout=config.smtp.command_timeout,
        smtp_transaction=config.smtp.transaction_timeout,
        pop3_timeout=config.pop3.command_timeout,
        pop3=pop3,
        plaintext_auth=config.pop3.plaintext_auth,
    )


def passwords(config: Config) -> Mapping[Address, StoredPassword]:
    """The accounts with their passwords."""
    return {account.address: StoredPassword.read(account.password.reveal()) for account in config.accounts}


def routing_table(config: Config) -> RoutingTable:
    """The names that the configuration makes known."""
    return RoutingTable(
        Names(
            domains=config.domains,
            accounts=[account.address for account in config.accounts],
            aliases={alias.address: alias.to for alias in config.aliases},
            announced=[alias.address for alias in config.aliases if alias.announce],
            lists={one.address: MailingList(one.members, one.owner) for one in config.lists},
            moved={moved.address: moved.to for moved in config.moved},
            catch_all=config.catch_all,
            postmaster=config.postmaster,
        )
    )


def quotas(config: Config) -> Mapping[Address, Quota]:
    """The quotas of the accounts that have one."""
    found = {}
    for account in config.accounts:
        quota = Quota(
            config.storage.quota if account.quota is None else account.quota,
            config.storage.quota_messages if account.quota_messages is None else account.quota_messages,
        )
        if quota != Quota():
            found[account.address.key] = quota
    return found


def mailbox_store(
    config: Config, disk: Disk, damaged: DamagedFolder, quota_of: QuotaOf, reactor: IReactor
) -> IMailboxStore:
    """The store that the configuration names."""
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


def check(path: Path, config: Config, reactor: IReactor) -> None:
    """Let the rooms look at what only they can judge: raise :class:`ConfigurationError` with all of it."""
    problems = list(dict.fromkeys(routing_table(config).problems))
    if config.storage.engine not in ENGINES:
        problems.append(f"storage.engine: {_not_served(config.storage.engine, ENGINES)}")
    for number, listen in enumerate(config.listen, 1):
        problems += [f"listen[{number}].{problem}" for problem in _listen_problems(listen, reactor)]
    if problems:
        raise ConfigurationError([f"{path}: {problem}" for problem in problems])


def _listen_problems(listen: Listen, reactor: IReactor) -> Iterator[str]:
    if listen.protocol not in SERVED:
        yield f"protocol: {_not_served(listen.protocol, SERVED)}"
    if listen.tls == "implicit":
        yield f"tls: {_not_served(listen.tls, ('none', 'starttls'))}"
    kind = listen.endpoint.partition(":")[0]
    if kind in NOT_LISTENED:
        yield f'endpoint: "{kind}:" is not served by this version; allowed: tcp:, tcp6:, unix:, systemd:'
        return
    try:
        serverFromString(reactor, listen.endpoint)
    except Exception as error:  # noqa: BLE001 - each kind of endpoint has errors of its own
        yield f'endpoint: "{listen.endpoint}" is none: {error}'


def _not_served(value: str, allowed: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in allowed)
    return f'"{value}" is not served by this version; allowed: {names}'
