"""Accounts, aliases and lists in force after a change: the right ones, and at what cost."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from argon2 import PasswordHasher
from twisted.internet.defer import Deferred, DeferredLock

from mailserver.accounts import directory, passwords
from mailserver.accounts.credentials import StoredCredentials
from mailserver.accounts.entries import StoredNames
from mailserver.accounts.memory import MemoryAccounts
from mailserver.accounts.passwords import StoredPassword
from mailserver.accounts.store import AccountStore
from mailserver.app import effective
from mailserver.app.accounts import AccountService, account_admin
from mailserver.app.effective import EffectiveAccounts
from mailserver.app.reload import Reload
from mailserver.app.storage import open_accounts
from mailserver.app.tasks import Tasks
from mailserver.commands.accounts import ACCOUNT_COMMANDS
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.control.channel import CommandOutcome
from mailserver.durable.disk import Disk
from mailserver.errors import AccountError
from mailserver.mail.address import Address
from mailserver.sasl.prep import prepared
from mailserver.threads.pool import Threads
from tests.support.reactor import FakeReactor

CONFIG = """
domains = ["example.org", "other.example"]
account = [{ address = "root", password = "x" }, { address = "taken", password = "x" }]
alias = [{ address = "info", to = ["root"] }]
storage = { engine = "memory", quota = 1000 }
"""


def at(local: str) -> Address:
    return Address(local, "example.org")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64))
    path = tmp_path / "mailserver.toml"
    path.write_text(CONFIG)
    return load(path)


Makes = Callable[..., AccountService]


def new_service(config: Config, reactor: FakeReactor) -> AccountService:
    threads = Threads(reactor)  # type: ignore[arg-type]
    opened = partial(open_accounts, config, Disk())
    parts = opened, None, (), threads, Tasks(), DeferredLock(), lambda: None
    return AccountService(config, reactor, *parts)  # type: ignore[arg-type]


def reload_of(people: AccountService, path: Path, config: Config) -> Deferred[CommandOutcome]:
    """A reload that reads ``config``."""
    reload = Reload(
        path=path,
        started=people._config,
        read=lambda: config,
        names=lambda: people.names,
        components=(people,),
        reactor=FakeReactor(),  # type: ignore[arg-type]
        threads=people._threads,
        tasks=people._tasks,
        changing=people._changing,
    )
    return reload.run()


@pytest.fixture
def make(config: Config) -> Iterator[Makes]:
    made: list[AccountService] = []

    def make(number: int = 0, reactor: FakeReactor | None = None) -> AccountService:
        people = new_service(config, reactor or FakeReactor())
        people.open()
        made.append(people)
        kept = {at(f"u{n}"): StoredCredentials(StoredPassword.read("$6$x$y")) for n in range(number)}
        people._accounts.import_accounts(kept)
        people._accounts.set_alias(at("old"), [at("root")])
        people._put(people._state.after(people._accounts.take_changes()))
        return people

    yield make
    for people in made:
        people._accounts.close()


def run(people: AccountService, words: str, **more: Any) -> None:
    command, _, address = words.rpartition(" ")
    people.run({"command": command, "address": address, **more})


IMPORTED = "bob:{NONE}\ncarol:{PLAIN}x\ncarol@other.example:{SHA}x\n"
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("account add bob", {"password": "x"}),
    ("account add alice", {"password": None}),
    ("account add Zoë", {"password": "y"}),
    ("account passwd BOB", {"password": "y"}),
    ("account disable bob", {}),
    ("alias add sales", {"to": ["bob", "zoë", "info"]}),
    ("alias add deep", {"to": ["sales"]}),
    ("list add club", {"members": ["alice", "deep"], "owner": "bob"}),
    ("list join club", {"members": ["root", "u1"]}),
    ("alias add sales", {"to": ["alice"], "replace": True}),
    ("account enable bob", {}),
    ("list leave club", {"members": ["alice"]}),
    ("account app-password add bob", {"name": "phone"}),
    ("import passwd-file -", {"text": IMPORTED, "replace": True}),
    ("account remove bob", {}),
    ("list remove club", {}),
    ("account remove bob", {}),
    ("alias remove deep", {}),
    ("alias remove sales", {}),
    ("account remove alice", {}),
    ("account remove nobody", {}),
]
ASKED = [
    "alice", "bob", "zoë", "carol", "root", "info", "sales", "deep", "club", "club-bounces", "old",
    "postmaster", "nobody", "u1",
]  # fmt: skip


def test_each_change_leads_to_what_a_start_would_find(make: Makes, config: Config) -> None:
    people = make(3)
    for words, more in CHANGES:
        run(people, words, **more)
        state, kept, names = people._state, people._accounts.accounts(), people._accounts.names()
        fresh = EffectiveAccounts.of(config, kept, names)
        assert (state.stored, state.names) == (kept, names), words
        assert list(state.names.accounts) == list(names.accounts)
        assert (state.quotas, state.problems, state.taken) == (fresh.quotas, fresh.problems, fresh.taken)
        assert set(state.directory.kinds) == set(fresh.directory.kinds), words
        assert people.router.table is state.table
        for name in map(at, ASKED):
            assert state.directory.find(str(name)) == fresh.directory.find(str(name)), (words, name)
            ends = [table.destinations(name, table.name_of(name)) for table in (state.table, fresh.table)]
            assert ends[0] == ends[1], (words, name)
    assert set(map(str, people._state.stored)) == {
        *(f"u{n}@example.org" for n in range(3)), "zoë@example.org", "carol@example.org",
    }  # fmt: skip


def test_a_name_that_the_configuration_has_stays_its_own(make: Makes) -> None:
    people = make()
    people._accounts.add(at("taken"), "theirs")
    run(people, "account add bob", password="x")
    found = people._state.directory.find("taken")
    assert found is not None and not found.stored
    assert "taken@example.org is in the account store, too" in " ".join(people._state.problems)


class Counter:
    """Counts the calls of what costs something for each account."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        for owner, name in ((Address, "parse"), (StoredPassword, "read")):
            monkeypatch.setattr(owner, name, classmethod(self.counted(getattr(owner, name).__func__)))
        monkeypatch.setattr(directory, "prepared", self.counted(prepared))

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            return function(*args, **options)

        return call


SAME_NAMES = [
    ("account passwd u1", {"password": "new"}),
    ("account disable u2", {}),
    ("account app-password add u3", {"name": "phone"}),
    ("account enable u4", {}),
]


@pytest.mark.parametrize(("words", "more"), SAME_NAMES)
def test_a_changed_account_costs_the_same_among_many(
    make: Makes, monkeypatch: pytest.MonkeyPatch, words: str, more: dict[str, Any]
) -> None:
    few, many = make(10), make(3000)
    counter, costs = Counter(monkeypatch), []
    for people in (few, many):
        before, table = counter.calls, people.router.table
        run(people, words, **more)
        costs.append(counter.calls - before)
        assert people.router.table is table
    assert costs[0] == costs[1] < 30


def test_a_new_hash_after_a_login_costs_the_same_among_many(
    make: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = make(10), make(3000)
    counter, costs = Counter(monkeypatch), []
    for people in (few, many):
        stored = people._state.stored[at("u1")].password
        assert stored is not None
        before, table = counter.calls, people.router.table
        fresh = StoredPassword.read(passwords.hash_password("x"))
        people._accounts.replace_hash(at("u1"), stored, fresh)
        Deferred.fromCoroutine(people._read_changes())
        assert people._state.stored[at("u1")].password == fresh
        costs.append(counter.calls - before)
        assert people.router.table is table
    assert costs[0] == costs[1] < 30


@pytest.mark.parametrize(("words", "more"), [*SAME_NAMES, CHANGES[0], CHANGES[5]])
def test_the_reactor_only_puts_in_force_what_threads_have_made(
    make: Makes, monkeypatch: pytest.MonkeyPatch, words: str, more: dict[str, Any]
) -> None:
    reactor = FakeReactor()
    people = make(10, reactor)
    run(people, "account add zoë", password=None)
    run(people, "account add bob", password=None) if "alias" in words else None
    reactor.held = True
    in_thread = False
    made: list[bool] = []
    after = EffectiveAccounts.after
    monkeypatch.setattr(EffectiveAccounts, "after", lambda *args: made.append(in_thread) or after(*args))
    before = people._state
    run(people, words, **more)
    while reactor._work:
        jobs, reactor._work = reactor._work, []
        for job in jobs:
            in_thread = True
            job()
            in_thread = False
    assert made == [True]
    assert people._state is not before


def test_putting_a_change_in_force_is_no_stall(make: Makes) -> None:
    """The only part of a change that the reactor's thread does, with 10,000 accounts."""
    people, seconds = make(10_000), []
    for words, more in (CHANGES[0], *SAME_NAMES):
        people._accounts.take_changes()
        ACCOUNT_COMMANDS[words.rpartition(" ")[0]](
            account_admin(people._accounts, people._config), {"address": words.split()[-1], **more}
        )
        after = people._state.after(people._accounts.take_changes())
        start = time.process_time()
        people._put(after)
        seconds.append(time.process_time() - start)
    assert max(seconds) < 0.02


@pytest.mark.parametrize("steps", range(7))
def test_a_reload_of_the_configuration_and_a_change_come_one_after_the_other(
    make: Makes, config: Config, tmp_path: Path, steps: int
) -> None:
    reactor = FakeReactor()
    people = make(3, reactor)
    reactor.held = True
    changed = attrs.evolve(config, aliases=())

    run(people, "account add bob", password=None)
    for _ in range(steps):
        reactor.run_threads()
    reloaded = reload_of(people, tmp_path, changed)
    run(people, "account add zoë", password=None)
    for _ in range(12):
        reactor.run_threads()
    assert reloaded.called
    for name in ("bob", "zoë"):
        assert people._state.table.name_of(at(name)) == at(name)
        assert people._state.directory.find(name) is not None
    assert people._state.table.name_of(at("info")) is None
    assert people._state.config is changed


def test_a_reload_is_worked_out_in_a_thread_and_given_up_by_nobody(
    make: Makes, config: Config, tmp_path: Path
) -> None:
    reactor = FakeReactor()
    people = make(3, reactor)
    reactor.held = True
    before = people._state
    changed = attrs.evolve(config, catch_all={"example.org": at("root")})

    reload_of(people, tmp_path, changed).addErrback(lambda cancelled: None).cancel()
    assert people._state is before
    for _ in range(3):
        reactor.run_threads()
    assert people._state.config is changed


def test_a_reload_of_the_same_configuration_keeps_the_accounts_in_their_place(
    make: Makes, config: Config, tmp_path: Path
) -> None:
    people = make(3)
    before = people._state
    reload_of(people, tmp_path, attrs.evolve(config, domains=tuple(config.domains)))
    assert people._state is before


def test_what_the_configuration_leads_to_is_not_removed(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    path.write_text("""
        domains = ["example.org", "other.example"]
        postmaster = "bob"
        catch_all = { "other.example" = "bob+rest" }
        alias = [{ address = "info", to = ["BOB"] }]
        list = [{ address = "club", members = ["info"], owner = "bob" }]
    """)
    accounts = AccountStore(MemoryAccounts())
    accounts.add(at("bob"), None)
    with pytest.raises(AccountError) as caught:
        ACCOUNT_COMMANDS["account remove"](account_admin(accounts, load(path)), {"address": "bob"})
    assert str(caught.value) == (
        "bob@example.org is still in use by the alias info@example.org, club-bounces@example.org, "
        "postmaster@example.org, postmaster@other.example, the catch_all of other.example"
    )
    accounts.close()


def test_nobody_is_in_force_before_the_store_is_open(config: Config) -> None:
    state = EffectiveAccounts.of(config, {}, StoredNames())
    assert state.directory.find("u1") is None
    assert effective._is_served(at("u1"), config, state.taken)
