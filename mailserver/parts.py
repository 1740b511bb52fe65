"""From the configuration to what each room is made with.

A part of the composition root: ``service`` alone imports it. What the rooms find wrong is raised as
:class:`ConfigurationError`, in the form of the other configuration errors.
"""

import ipaddress
from collections.abc import Mapping
from pathlib import Path

import attrs

from mailserver import __version__
from mailserver.auth.passwords import StoredPassword
from mailserver.config.model import Config
from mailserver.durable.disk import Disk
from mailserver.errors import ConfigurationError
from mailserver.interfaces import IMailboxStore, IReactor
from mailserver.mail.address import Address
from mailserver.pop3.settings import Settings as POP3Settings
from mailserver.routing.table import MailingList, Names, RoutingTable
from mailserver.smtp.settings import Settings as SMTPSettings
from mailserver.store.maildir import MaildirStore
from mailserver.store.memory import MemoryStore

SERVED = ("smtp", "pop3")


@attrs.frozen
class Settings:
    """The settings of new sessions; timeouts in seconds."""

    smtp: SMTPSettings
    smtp_timeout: float
    pop3_timeout: float
    _pop3: POP3Settings
    _plaintext_auth: bool | str

    def pop3(self, client_ip: str) -> POP3Settings:
        """The settings of a POP3 session, which depend on whether a password may come in the clear."""
        allowed = self._plaintext_auth
        if allowed == "loopback":
            allowed = not client_ip or ipaddress.ip_address(client_ip).is_loopback
        return attrs.evolve(self._pop3, user_login_allowed=True) if allowed else self._pop3


def settings(config: Config) -> Settings:
    """What the configuration says about sessions."""
    smtp = SMTPSettings(
        hostname=config.hostname,
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
    pop3 = POP3Settings(hostname=config.hostname, version=__version__)
    return Settings(
        smtp=smtp,
        smtp_timeout=config.smtp.command_timeout,
        pop3_timeout=config.pop3.command_timeout,
        pop3=pop3,
        plaintext_auth=config.pop3.plaintext_auth,
    )


def passwords(config: Config) -> Mapping[Address, StoredPassword]:
    """The accounts with their passwords."""
    return {account.address: StoredPassword.read(account.password.reveal()) for account in config.accounts}


def routing_table(path: Path, config: Config) -> RoutingTable:
    """The names that the configuration makes known. Raises :class:`ConfigurationError`."""
    table = RoutingTable(
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
    if table.problems:
        raise ConfigurationError([f"{path}: {problem}" for problem in dict.fromkeys(table.problems)])
    return table


def mailbox_store(path: Path, config: Config, disk: Disk, reactor: IReactor) -> IMailboxStore:
    """The store that the configuration names. Raises :class:`ConfigurationError`."""
    match config.storage.engine:
        case "maildir":
            return MaildirStore(config.data / "mail", config.hostname, disk, reactor)
        case "memory":
            return MemoryStore()
        case engine:
            raise _not_served(f"{path}: storage.engine", engine, "maildir", "memory")


def check_listeners(path: Path, config: Config) -> None:
    """Refuse what would be asked for and not be there. Raises :class:`ConfigurationError`."""
    for number, listen in enumerate(config.listen, 1):
        place = f"{path}: listen[{number}]"
        if listen.protocol not in SERVED:
            raise _not_served(f"{place}.protocol", listen.protocol, *SERVED)
        if listen.tls == "implicit":
            raise _not_served(f"{place}.tls", listen.tls, "none", "starttls")


def _not_served(place: str, value: str, *allowed: str) -> ConfigurationError:
    names = ", ".join(f'"{name}"' for name in allowed)
    return ConfigurationError([f'{place}: "{value}" is not served by this version; allowed: {names}'])
