"""The accounts, aliases and lists in force: those of the configuration and those of the account store.

A change, by a command or by a reload, is in force with the next login and the next recipient.
"""

import stat
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailserver.app import build
from mailserver.app.in_force import InForce
from mailserver.auth.account_rows import KeptNames
from mailserver.auth.accounts import Accounts, reader
from mailserver.auth.authenticator import Authenticator
from mailserver.auth.checker import AccountChecker
from mailserver.auth.directory import Account, AppPassword
from mailserver.auth.keys import KeyRing
from mailserver.auth.passwords import StoredPassword, hash_password
from mailserver.auth.portal import MailRealm
from mailserver.auth.tokens import JWTValidator, TokenSettings
from mailserver.auth.turns import BACKGROUND, TooManyWaiting, Turns
from mailserver.commands.account_admin import AccountAdmin, names_taken
from mailserver.commands.accounts import OF_ACCOUNTS
from mailserver.config.model import Config
from mailserver.control.channel import Outcome, Request
from mailserver.durable.disk import Disk
from mailserver.durable.owned import to_hide
from mailserver.errors import AccountError, ConfigurationError, StorageError
from mailserver.interfaces import IMaildrops, IReactor, Quota
from mailserver.mail.address import Address
from mailserver.routing.router import Router
from mailserver.sasl.prep import prepared
from mailserver.threads.switching import in_short_turns

T = TypeVar("T")

HASHING_THREADS = 2


def in_turn(
    heavy: DeferredLock, reactor: IReactor, function: Callable[..., T], *arguments: object
) -> Deferred[T]:
    """Do what keeps a thread busy, one at a time.

    The reactor's thread lets go of the interpreter at each system call, and then waits for every busy thread.
    """
    pool = reactor.getThreadPool()
    return heavy.run(deferToThreadPool, reactor, pool, in_short_turns(function), *arguments)


def accounts_file(data: Path) -> Path:
    """The account store."""
    return data / "accounts.db"


def account_admin(accounts: Accounts, config: Config) -> AccountAdmin:
    """What the commands about accounts work with."""
    return AccountAdmin(
        accounts=accounts,
        domains=config.domains,
        taken=names_taken(config),
        mechanisms=config.auth.mechanisms,
        problems=lambda kept: {one.text: one.owner for one in build.routing_table(config, kept).problems},
    )


def kept_names(config: Config) -> KeptNames:
    """The names in the account store as it lies on the disk; none if there is none that can be read."""
    if config.storage.engine == "memory":
        return KeptNames()
    try:
        return reader(accounts_file(config.data)).names()
    except (OSError, StorageError):
        # The start will say so, where it opens the store.
        return KeptNames()


def tokens(config: Config) -> JWTValidator | None:
    """What bearer tokens are checked with. Raises :class:`~mailserver.errors.ConfigurationError`."""
    token = config.token
    if token.key is None and token.jwks is None:
        return None
    settings = TokenSettings(token.issuer, token.audience, token.claim)
    return JWTValidator(settings, token.key.reveal() if token.key is not None else "", token.jwks)


def check(path: Path, config: Config) -> None:
    """Raise :class:`ConfigurationError` if a password or the key of tokens is of no use."""
    problems = []
    for number, account in enumerate(config.accounts, 1):
        try:
            if not StoredPassword.read(account.password.reveal()).sound:
                problems.append(f"account[{number}].password: the hash is damaged, no password fits it")
        except AccountError as error:
            problems.append(f"account[{number}].password: {error}")
    try:
        tokens(config)
    except ConfigurationError as error:
        problems += error.lines
    if problems:
        raise ConfigurationError([f"{path}: {problem}" for problem in problems])


def exposure(path: Path, config: Config) -> str | None:
    """Why strangers could read or change secrets in the configuration's file, and what to do about it.

    Such a file is accepted all the same: it is how most people begin.
    """
    kept = [StoredPassword.read(account.password.reveal()).scheme for account in config.accounts]
    secrets = "plain" in kept or config.token.key is not None or config.storage.url is not None
    with suppress(OSError):
        if secrets and path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            return f"{path}: everybody can read or change the secrets in it; mend it with: {to_hide(path)}"
    return None


class AccountService(Service):
    """The accounts in force; ``router`` and ``authenticator`` always go by them.

    A change is read, and its consequences are worked out, in a thread.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: IReactor,
        disk: Disk,
        maildrops: IMaildrops,
        others: Sequence[ICredentialsChecker],
        heavy: DeferredLock | None = None,
    ) -> None:
        """``check`` has accepted the configuration; ``others`` are asked about passwords that are none of
        ours; ``heavy`` is held by work that keeps a thread busy."""
        self._config = config
        self._reactor = reactor
        self._reloading = DeferredLock()
        self._heavy = heavy or DeferredLock()
        self._stale = False
        self._records: set[Deferred[Any]] = set()
        in_memory = config.storage.engine == "memory"
        self._accounts = Accounts(None if in_memory else accounts_file(config.data), disk)
        self._threads = ThreadPool(0, HASHING_THREADS, "passwords")
        self._turns = Turns(reactor, self._threads, HASHING_THREADS)
        self._state = InForce.of(config, {}, KeptNames())
        directory = self._state.directory
        self._checker = AccountChecker(
            directory,
            reactor,
            self._turns,
            remember=config.auth.remember,
            tokens=tokens(config),
            others=others,
            app_password_used=self._app_password_used,
            upgrade=self._upgrade,
        )
        self._keys = KeyRing(directory, b"", self._turns)
        self.router = Router(self._state.table)
        self.authenticator = Authenticator(
            Portal(MailRealm(maildrops), [self._checker]), self._keys, lambda: self._state.directory
        )

    @property
    def names(self) -> KeptNames:
        """The names in the account store."""
        return self._state.names

    @property
    def quotas(self) -> Mapping[Address, Quota]:
        """The mailboxes with a quota, by their keys."""
        return self._state.quotas

    def open(self) -> None:
        """Open the store. Blocks; raises :class:`~mailserver.errors.StorageError`."""
        self._accounts.open()
        with self._accounts.changing:
            self._accounts.take_changes()
            self._put(InForce.of(self._config, self._accounts.accounts(), self._accounts.names()))

    def startService(self) -> None:
        Service.startService(self)
        self._threads.start()

    async def close(self) -> None:
        """Once nobody asks any more."""
        self._turns.close()
        await DeferredList(self._records, consumeErrors=False)
        self._threads.stop()
        self._accounts.close()

    # ------------------------------------------------------------ changes

    def alone(self, steps: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> Deferred[T]:
        """Steps beside which no accounts and no configuration come into force.

        Who asked may leave: what a thread does cannot be taken back, and is put in force all the same.
        """
        return self._kept_on(self._alone(steps))

    async def _alone(self, steps: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> T:
        async with self._reloading:
            return await steps()

    async def prepare(self, path: Path, config: Config) -> Callable[[], None]:
        """What puts another configuration in force, and cannot fail. For steps that are :meth:`alone`.

        Raises :class:`~mailserver.errors.ConfigurationError`.
        """
        # The store is as it was read: only commands change it, and they read it again.
        kept, names = self._state.kept, self._state.names

        def work_out() -> tuple[InForce, JWTValidator | None]:
            check(path, config)
            return InForce.of(config, kept, names), tokens(config)

        state, validator = await self._in_thread(work_out)
        return partial(self._replace, state, validator)

    def _replace(self, state: InForce, validator: JWTValidator | None) -> None:
        self._config = state.config
        self._checker.tokens = validator
        self._checker.remembered.seconds = state.config.auth.remember
        self._put(state)

    def run(self, request: Request) -> Deferred[Outcome]:
        """One of the commands about accounts, aliases and lists. Who asked may leave, as in :meth:`alone`."""
        return self._kept_on(self._run(request))

    def _kept_on(self, steps: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        told: Deferred[T] = Deferred()
        self._recording(steps).chainDeferred(told)
        return told

    async def _run(self, request: Request) -> Outcome:
        command, config = OF_ACCOUNTS[str(request["command"])], self._config
        try:
            return await self._in_thread(lambda: command(account_admin(self._accounts, config), request))
        finally:
            # Also a command that has failed may have done a part of its work.
            await self._reload()

    async def _reload(self) -> None:
        # One after the other, so that what was read last is what stays; one for all that wait.
        self._stale = True
        async with self._reloading:
            if self._stale:
                self._stale = False
                changes = await self._in_thread(self._accounts.take_changes)
                self._put(await self._in_thread(self._state.after, changes))

    def _put(self, state: InForce) -> None:
        """Put it in force: nothing here takes longer where there are more accounts."""
        for problem in state.problems - self._state.problems:
            self.log.warn("{problem}", problem=problem)
        self._state = state
        self._checker.replace(state.directory)
        self._keys.replace(state.directory, self._accounts.dummy_key)
        self.router.table = state.table

    def _in_thread(self, function: Callable[..., T], *arguments: object) -> Deferred[T]:
        return in_turn(self._heavy, self._reactor, function, *arguments)

    # ------------------------------------------------------------ what logins bring about

    def _app_password_used(self, address: Address, app_password: AppPassword) -> Deferred[None]:
        return self._recording(self._note_use(address, app_password.name))

    async def _note_use(self, address: Address, name: str) -> None:
        await self._in_thread(self._accounts.used_app_password, address, name, time.time())

    def _upgrade(self, account: Account, stored: StoredPassword, password: str) -> Deferred[None]:
        return self._recording(self._rehash(account.address, stored, password))

    async def _rehash(self, address: Address, stored: StoredPassword, password: str) -> None:
        try:
            fresh = await self._turns.run(BACKGROUND, hash_password, prepared(password))
        except (CancelledError, TooManyWaiting):
            return  # the next login does it
        await self._in_thread(self._accounts.replace_hash, address, stored, StoredPassword.read(fresh))
        await self._reload()

    def _recording(self, steps: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Steps that a stopping server waits for."""
        record = Deferred.fromCoroutine(steps)
        if not record.called:
            self._records.add(record)
            record.addBoth(self._recorded, record)
        return record

    def _recorded(self, result: T, record: Deferred[Any]) -> T:
        self._records.discard(record)
        return result
