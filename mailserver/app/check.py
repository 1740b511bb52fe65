"""The checks of a configuration that need other packages; ``config`` has already made the rest."""

import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mailserver.accounts.entries import StoredNames
from mailserver.accounts.passwords import StoredPassword
from mailserver.app.accounts import tokens
from mailserver.app.listeners import PROTOCOLS
from mailserver.app.monitoring import METRICS
from mailserver.app.routes import routing_table
from mailserver.app.storage import needs_psycopg
from mailserver.app.web import WEB
from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.endpoints import check_parts, explain
from mailserver.config.schema.problems import InvalidValue, dotted
from mailserver.durable.owned import to_hide
from mailserver.errors import AccountError, ConfigurationError
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address
from mailserver.net.endpoints import server_endpoint
from mailserver.routing.table import BOUNCES, POSTMASTER

SERVED = (*PROTOCOLS, METRICS, WEB)
# No client can connect to "stdio". "haproxy" would greet before the PROXY header arrives; the key
# listen.proxies replaces it.
NOT_LISTENED = ("stdio", "haproxy")


def check(
    path: Path, config: Config, stored: StoredNames, reactor: IReactor, *, inherits: bool = False
) -> None:
    """Raise :class:`ConfigurationError` with all problems. Blocks.

    A process that ``inherits`` its sockets cannot see which ones systemd has given. ``stored`` has the names
    of the account store. A problem that only concerns them does not prevent a start.
    """
    problems = [*_name_problems(config, stored)]
    problems += _database_problems(config)
    for number, listen in enumerate(config.listen, 1):
        if not (inherits and listen.endpoint.startswith("systemd:")):
            problems += [f"listen[{number}].{problem}" for problem in _listen_problems(listen, reactor)]
    problems += _secret_problems(config)
    if problems:
        raise ConfigurationError([f"{path}: {problem}" for problem in problems])


def _name_problems(config: Config, stored: StoredNames) -> Iterator[str]:
    found = set(routing_table(config, stored).problems)
    places = _places(config)
    for one in dict.fromkeys(routing_table(config).problems):
        if one in found:
            yield f"{places[one.owner]}: {one.text}" if one.owner in places else one.text


def _places(config: Config) -> Mapping[str, str]:
    """For each name, the key that decides where its mail goes."""
    places = {f"{POSTMASTER}@{domain}": "postmaster" for domain in config.domains}
    places |= {domain: dotted("catch_all", domain) for domain in config.catch_all}
    for number, one in enumerate(config.lists, 1):
        bounces = Address(f"{one.address.local}{BOUNCES}", one.address.domain)
        places[str(bounces.key)] = f"list[{number}].owner"
    places |= {str(one.address.key): f"moved[{number}]" for number, one in enumerate(config.moved, 1)}
    places |= {str(one.address.key): f"alias[{number}].to" for number, one in enumerate(config.aliases, 1)}
    places |= {str(one.address.key): f"list[{number}].members" for number, one in enumerate(config.lists, 1)}
    return places


def _listen_problems(listen: ListenSection, reactor: IReactor) -> Iterator[str]:
    if listen.protocol not in SERVED:
        yield f"protocol: {_not_served(listen.protocol, SERVED)}"
    kind = listen.endpoint.partition(":")[0]
    if kind in NOT_LISTENED:
        yield f'endpoint: "{kind}:" is not served by this version; allowed: tcp:, tcp6:, unix:, systemd:'
        return
    try:
        check_parts(listen.endpoint)
        server_endpoint(reactor, listen.endpoint)
    except InvalidValue as error:
        yield f"endpoint: {error.what}; allowed: {error.allowed}"
    except Exception as error:  # noqa: BLE001 - each kind of endpoint has errors of its own
        yield f'endpoint: invalid endpoint "{listen.endpoint}": {explain(listen.endpoint, error)}'


def _secret_problems(config: Config) -> Iterator[str]:
    for number, account in enumerate(config.accounts, 1):
        try:
            if not StoredPassword.read(account.password.reveal()).sound:
                yield f"account[{number}].password: the hash is damaged; no password matches it"
        except AccountError as error:
            yield f"account[{number}].password: {error}"
    try:
        tokens(config)
    except ConfigurationError as error:
        yield from error.lines


def _database_problems(config: Config) -> Iterator[str]:
    if config.storage.engine != "postgresql":
        return
    if config.auth.passwd_file is not None:
        yield (
            "auth.passwd_file: another server cannot read mailboxes in a database; allowed: with "
            'storage.engine = "maildir"'
        )
    try:
        with needs_psycopg():
            from mailserver.app.database import connections

        connections(config)
    except ConfigurationError as error:
        yield from error.lines


def _not_served(value: str, allowed: Iterable[str]) -> str:
    names = ", ".join(f'"{name}"' for name in allowed)
    return f'"{value}" is not served by this version; allowed: {names}'


def exposure(path: Path, config: Config) -> str | None:
    """A warning if other users can read or change secrets in the configuration file.

    Such a file is still accepted: most people start with one.
    """
    stored = [StoredPassword.read(account.password.reveal()).scheme for account in config.accounts]
    secrets = "plain" in stored or config.token.key is not None or config.storage.url is not None
    with suppress(OSError):
        if secrets and path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            return f"{path}: everybody can read or change the secrets in it; fix it with: {to_hide(path)}"
    return None
