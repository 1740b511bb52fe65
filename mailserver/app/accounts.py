"""The accounts, aliases and lists in force: those of the configuration and those of the account store.

A change, by a command or by a reload, is in force with the next login and the next recipient. A POP3
session ends at its next command if its account may not log in any more.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from twisted.application.service import Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.python.threadpool import ThreadPool

from mailserver.accounts.authenticator import Authenticator
from mailserver.accounts.checker import AccountChecker
from mailserver.accounts.directory import Account, AppPassword
from mailserver.accounts.entries import AccountChanges, StoredNames
from mailserver.accounts.keyring import KeyRing
from mailserver.accounts.memory import MemoryAccounts
from mailserver.accounts.passwords import StoredPassword, hash_password
from mailserver.accounts.realm import MailRealm
from mailserver.accounts.store import AccountStore
from mailserver.accounts.tokens import JWTValidator, TokenSettings
from mailserver.app.effective import EffectiveAccounts
from mailserver.app.moved import MovedMailboxes
from mailserver.app.routes import routing_table
from mailserver.app.storage import read_accounts
from mailserver.app.tasks import Tasks
from mailserver.cluster.alone import ALONE
from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.cluster.notices import publish
from mailserver.commands.account_admin import AccountAdmin, names_taken
from mailserver.commands.accounts import ACCOUNT_COMMANDS
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import CommandOutcome, Request
from mailserver.errors import ConfigurationError, StorageError
from mailserver.events.accounts import AccountProblem
from mailserver.events.base import report
from mailserver.interfaces import IMailboxStore, IMaildrops, IReactor
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from mailserver.mail.retention import Retention
from mailserver.mail.srs import SRS
from mailserver.routing.router import Router
from mailserver.sasl.prep import prepared
from mailserver.threads.fair import BACKGROUND, FairThreadPool, TooManyWaiting
from mailserver.threads.pool import Threads

HASHING_THREADS = 2

# Questions between workers: changes of the store, and what logins on others than the first change.
CHANGED, APP_PASSWORD_USED, REHASHED = "accounts changed", "app password used", "password rehashed"


def account_admin(
    accounts: AccountStore, config: Config, moved: MovedMailboxes | None = None
) -> AccountAdmin:
    """The administration of the account store, for the commands."""
    moved = moved or MovedMailboxes()
    return AccountAdmin(
        accounts=accounts,
        domains=config.domains,
        taken=names_taken(config),
        mechanisms=config.auth.mechanisms,
        problems=lambda stored: {one.text: one.owner for one in routing_table(config, stored).problems},
        mail=config.data / "mail" if config.storage.engine == "maildir" else None,
        moved=moved.add,
        release=moved.release,
    )


def stored_names(config: Config) -> StoredNames:
    """The names in the account store on disk; none if the store is missing or unreadable."""
    try:
        return read_accounts(config).names()
    except (OSError, StorageError, ConfigurationError):
        # The start reports the error when it checks the configuration or opens the store.
        return StoredNames()


def tokens(config: Config) -> JWTValidator | None:
    """The validator of bearer tokens, None without ``token.key`` and ``token.jwks``.

    Raises :class:`~mailserver.errors.ConfigurationError`.
    """
    token = config.token
    if token.key is None and token.jwks is None:
        return None
    settings = TokenSettings(token.issuer, token.audience, token.claim)
    return JWTValidator(settings, token.key.reveal() if token.key is not None else "", token.jwks)


class AccountService(Service):
    """The accounts in force, which ``router`` and ``authenticator`` use.

    Changes are read and prepared in a thread.
    """

    def __init__(
        self,
        config: Config,
        reactor: IReactor,
        open_store: Callable[[], AccountStore],
        maildrops: IMaildrops,
        checkers: Sequence[ICredentialsChecker],
        threads: Threads,
        tasks: Tasks,
        changing: DeferredLock,
        srs: Callable[[], SRS | None],
        on_change: Callable[[], None] = lambda: None,
        *,
        moved: MovedMailboxes | None = None,
        peers: IPeers = ALONE,
    ) -> None:
        """``open_store`` opens the account store, and blocks. ``checkers`` are asked about passwords that are
        not in the accounts. ``changing`` is held while other accounts or another configuration come into
        force. ``srs`` is for the router. ``on_change`` is called when other accounts are in force.
        The first of the ``peers`` changes the store; the others follow."""
        self._reactor = reactor
        self._peers = peers
        self._is_first = peers.number == FIRST
        peers.serve(CHANGED, self._follow)
        peers.serve(APP_PASSWORD_USED, lambda use: self._tasks.start(self._note_use(*use)))
        peers.serve(REHASHED, lambda change: self._tasks.start(self._replace_hash(*change)))
        self._on_change = on_change
        self._moved = moved or MovedMailboxes()
        self._config = config
        self._threads = threads
        self._tasks = tasks
        self._changing = changing
        self._stale = False
        self._revision = 0
        self._open_store = open_store
        self._accounts = AccountStore(MemoryAccounts())  # until the store is open
        self._hashing_threads = ThreadPool(0, HASHING_THREADS, "passwords")
        self._hashing = FairThreadPool(reactor, self._hashing_threads, HASHING_THREADS)
        self._state = EffectiveAccounts.of(config, {}, StoredNames())
        directory = self._state.directory
        self._checker = AccountChecker(
            directory,
            reactor,
            self._hashing,
            remember=config.auth.remember,
            tokens=tokens(config),
            external=checkers,
            app_password_used=self._app_password_used,
            upgrade=self._upgrade,
        )
        self._keys = KeyRing(directory, b"", self._hashing)
        self.router = Router(self._state.table, srs)
        self.authenticator = Authenticator(
            Portal(MailRealm(maildrops), [self._checker]), self._keys, lambda: self._state.directory
        )

    @property
    def accounts(self) -> Iterable[Account]:
        """All accounts in force."""
        return self._state.directory.accounts

    @property
    def names(self) -> StoredNames:
        """The names in the account store."""
        return self._state.names

    def addresses(self) -> list[Address]:
        """The addresses of all accounts, sorted."""
        return self._state.directory.addresses()

    def has(self, address: Address) -> bool:
        """Whether there is an account with this address."""
        return self._state.directory.has(address)

    def quota_of(self, mailbox: Address) -> Quota | None:
        """The quota of a mailbox, None if it has none."""
        return self._state.quotas.get(mailbox.key)

    @property
    def retentions(self) -> Mapping[Address, Retention]:
        """How long the messages of an account stay, by its key, for the accounts whose messages expire."""
        return self._state.retentions

    def open(self) -> None:
        """Open the store. Blocks; raises :class:`~mailserver.errors.StorageError`."""
        self._moved.open()
        self._accounts = self._open_store()
        with self._accounts.changing:
            self._accounts.take_changes()
            self._revision = self._accounts.revision()
            self._put(EffectiveAccounts.of(self._config, *self._accounts.everything()))
            if self._is_first:
                self._moved.prune(self._state.directory.has)

    def current(self, mailbox: Address) -> Address:
        """The mailbox, or the one that it has become, if its account was renamed."""
        return self._moved.current(mailbox, self._state.directory.has)

    @property
    def has_moves(self) -> bool:
        """Whether a mailbox of an old name may still have mail, which has to move."""
        return bool(self._moved.pending(self._state.directory.has))

    def finish_moves(self, store: IMailboxStore) -> None:
        """Complete the moves of mailboxes that a crash has interrupted. Blocks."""
        for old, new in self._moved.pending(self._state.directory.has).items():
            try:
                store.move(old, new)
            except StorageError as error:
                report(AccountProblem(reason=f"the mailbox {old} cannot be moved to {new}: {error}"))

    def startService(self) -> None:
        Service.startService(self)
        self._hashing_threads.start()

    async def close(self) -> None:
        """Finish what runs, and close the store. No client may be connected any more."""
        self._hashing.close()
        await self._tasks.finish()
        self._hashing_threads.stop()
        self._accounts.close()

    # ------------------------------------------------------------ changes

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        # The store has not changed since it was read: only commands change it, and each reads the changes.
        stored, names = self._state.stored, self._state.names

        def prepared_state() -> tuple[EffectiveAccounts, JWTValidator | None]:
            # The files with token keys may have changed, even if the configuration has not.
            state = self._state if config is self._config else EffectiveAccounts.of(config, stored, names)
            return state, tokens(config)

        state, validator = await self._threads.run_long(prepared_state)
        return partial(self._commit, state, validator)

    def _commit(self, state: EffectiveAccounts, validator: JWTValidator | None) -> None:
        self._config = state.config
        self._checker.tokens = validator
        self._checker.remembered.seconds = state.config.auth.remember
        self._put(state)

    def run(self, request: Request) -> Deferred[CommandOutcome]:
        """Perform one of the commands about accounts, aliases and lists; a change is then in force."""
        return self._tasks.start(self._run(request))

    async def _run(self, request: Request) -> CommandOutcome:
        command, config = ACCOUNT_COMMANDS[str(request["command"])], self._config
        try:
            return await self._threads.run_long(
                lambda: command(account_admin(self._accounts, config, self._moved), request)
            )
        finally:
            # A failed command may have made a part of its changes.
            await self._read_changes()

    async def _read_changes(self) -> None:
        # In order, so that the last read stays in force. One read serves all commands that wait.
        self._stale = True
        async with self._changing:
            if self._stale:
                self._stale = False
                changes = await self._threads.run_long(self._accounts.take_changes)
                self._put(await self._threads.run_long(self._state.after, changes))
                await publish(self._peers, CHANGED, changes, self._reactor)

    async def look_again(self) -> None:
        """Put in force what other servers have changed in the same store."""
        try:
            revision = await self._threads.run_long(self._accounts.revision)
            if revision == self._revision:
                return
            async with self._changing:
                stored, names = await self._threads.run_long(self._accounts.everything)
                self._put(await self._threads.run_long(EffectiveAccounts.of, self._config, stored, names))
                self._revision = revision
        except StorageError:
            return  # the connections to the database have reported it

    def _follow(self, changes: AccountChanges) -> Deferred[None]:
        """Put changes of the first worker in force."""
        return self._tasks.start(self._following(changes))

    async def _following(self, changes: AccountChanges) -> None:
        async with self._changing:
            await self._threads.run_long(self._moved.open)
            self._put(await self._threads.run_long(self._state.after, changes))

    def _put(self, state: EffectiveAccounts) -> None:
        """Put a state in force, in constant time."""
        if self._is_first:
            for problem in state.problems - self._state.problems:
                report(AccountProblem(reason=problem))
        self._state = state
        self._checker.replace(state.directory)
        self._keys.replace(state.directory, self._accounts.dummy_key)
        self.router.table = state.table
        self._on_change()

    # ------------------------------------------------------------ changes by logins

    def _app_password_used(self, address: Address, app_password: AppPassword) -> Deferred[None]:
        use = address, app_password.name, time.time()
        if self._is_first:
            return self._tasks.start(self._note_use(*use))
        return self._peers.ask(FIRST, APP_PASSWORD_USED, use)

    async def _note_use(self, address: Address, name: str, when: float) -> None:
        await self._threads.run_long(self._accounts.used_app_password, address, name, when)

    def _upgrade(self, account: Account, stored: StoredPassword, password: str) -> Deferred[None]:
        return self._tasks.start(self._rehash(account.address, stored, password))

    async def _rehash(self, address: Address, stored: StoredPassword, password: str) -> None:
        try:
            fresh = await self._hashing.run(BACKGROUND, hash_password, prepared(password))
        except (CancelledError, TooManyWaiting):
            return  # the next login tries again
        if self._is_first:
            await self._replace_hash(address, stored, fresh)
        else:
            await self._peers.ask(FIRST, REHASHED, (address, stored, fresh))

    async def _replace_hash(self, address: Address, stored: StoredPassword, fresh: str) -> None:
        await self._threads.run_long(self._accounts.replace_hash, address, stored, StoredPassword.read(fresh))
        await self._read_changes()
