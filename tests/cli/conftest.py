"""Fixtures: a site with accounts in memory, and the command that asks it."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from mailserver.accounts import passwords
from mailserver.accounts.entries import StoredNames
from mailserver.accounts.memory import MemoryAccounts
from mailserver.accounts.store import AccountStore
from mailserver.cli import accounts as account_commands
from mailserver.cli.main import main
from mailserver.commands.account_admin import AccountAdmin, names_taken
from mailserver.commands.accounts import ACCOUNT_COMMANDS
from mailserver.config.loader import load
from mailserver.control.channel import CommandOutcome
from mailserver.routing.table import MailingList, Names, RoutingTable
from tests.support.cli import CONFIG, INFO, ROOT, Ended, Run


def routing_problems(names: StoredNames) -> dict[str, str]:
    """What the composition root asks a routing table for."""
    lists = {address: MailingList(kept.members, kept.owner) for address, kept in names.lists.items()}
    table = RoutingTable(
        Names(
            domains=["example.org", "example.com"],
            accounts=[ROOT, *names.accounts],
            aliases={INFO: (ROOT,), **names.aliases},
            lists=lists,
        )
    )
    return {problem.text: problem.owner for problem in table.problems}


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Iterator[AccountStore]:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64))
    accounts = AccountStore(MemoryAccounts(), now=lambda: 1_700_000_000.0)
    yield accounts
    accounts.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mailserver.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def admin(accounts: AccountStore, config: Path) -> AccountAdmin:
    loaded = load(config)
    return AccountAdmin(
        accounts=accounts,
        domains=loaded.domains,
        taken=names_taken(loaded),
        mechanisms=("PLAIN", "SCRAM-SHA-256"),
        problems=routing_problems,
    )


@pytest.fixture
def mailserver(
    admin: AccountAdmin, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs ``mailserver`` with these words, which asks this site."""

    def perform(data: Path, request: Any) -> CommandOutcome:
        assert data == load(config).data
        assert request["config"] == str(config)
        return ACCOUNT_COMMANDS[request["command"]](admin, json.loads(json.dumps(request)))

    def mailserver(*words: str, given: str = "") -> Ended:
        options = ["--config", str(config)] if len(words) > 1 else []
        monkeypatch.setattr(sys, "argv", ["mailserver", *words, *options])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ended(int(ended.value.code or 0), out.splitlines(), err.splitlines())

    def rehearse(data: Path, request: Any) -> CommandOutcome:
        return perform(data, {**request, "rehearse": True})

    monkeypatch.setattr(account_commands, "perform", perform)
    monkeypatch.setattr(account_commands, "rehearse", rehearse)
    return mailserver
