"""Gives accounts, or all names of a domain in the account store, other names.

The steps, each durable before the next one:

    1  record where the mailboxes move (``AccountAdmin.moved``)
    2  change the account store, in one transaction
    3  move the mailboxes (see ``app.renaming``)

A crash before 2 leaves everything as it was: the record has no effect while an account has the old name.
After a crash before 3, the next start of the server moves the mailboxes.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs

from mailserver.accounts.entries import StoredList, StoredNames
from mailserver.commands.account_admin import AccountAdmin, text_in
from mailserver.control.channel import CommandOutcome, Request
from mailserver.errors import AccountError, one_line
from mailserver.mail.address import Address, parse_domain
from mailserver.mail.names import folder_name
from mailserver.mail.quarantine import quarantine_of
from mailserver.mail.words import counted


def account_rename(admin: AccountAdmin, request: Request) -> CommandOutcome:
    """``old`` becomes ``new``. With ``rehearse`` the only line is JSON: the mailboxes that move, in pairs."""
    old = admin.address(text_in(request, "old"))
    if admin.taken.get(old.key) == "account":
        raise _in_configuration(admin, old, text_in(request, "new"))
    old = admin.changeable(str(old))
    account = admin.accounts.account(old).address
    new = admin.name(text_in(request, "new"))
    if new.key != old.key:
        admin.require_mailbox(new, _others(admin, {old.key}))
        admin.accounts.require_free(new)
    pairs = {} if new.key == old.key else {old.key: new}
    if request.get("rehearse") is True:
        return _rehearsed(pairs)
    aliases = _aliases(request)
    _rename(admin, {old.key: new}, pairs, aliases=aliases)
    told = f"; mail for {account} reaches it, too" if aliases and pairs else ""
    return CommandOutcome((one_line(f"{account} is now {new}{told}"),))


def domain_rename(admin: AccountAdmin, request: Request) -> CommandOutcome:
    """All accounts, aliases and lists in the domain ``old`` are in ``new``. With ``rehearse`` as above."""
    old, new = (parse_domain(text_in(request, name)) for name in ("old", "new"))
    if old == new:
        raise AccountError(f"{old} is the same domain")
    configured = [f"{kind} {name}" for name, kind in admin.taken.items() if name.domain == old]
    if configured:
        raise AccountError(f"change these in the configuration first: {', '.join(configured)}")
    names = admin.accounts.names()
    stored = [*names.accounts, *names.aliases, *names.lists]
    renamed = {each.key: Address(each.local, new) for each in stored if each.domain == old}
    if not renamed:
        raise AccountError(f"the account store has no name in {old}")
    others = _others(admin, renamed)
    for address in renamed.values():
        admin.name(str(address))
        admin.require_mailbox(address, others)
        admin.accounts.require_free(address)
    boxes = {each.key: renamed[each.key] for each in names.accounts if each.key in renamed}
    boxes.setdefault(quarantine_of(old), quarantine_of(new))
    if request.get("rehearse") is True:
        return _rehearsed(boxes)
    _rename(admin, renamed, boxes, aliases=_aliases(request))
    return CommandOutcome((f"{old} is now {new}: {counted(len(renamed), 'name')} renamed",))


def _aliases(request: Request) -> bool:
    return request.get("aliases") is not False


def _others(admin: AccountAdmin, renamed: Collection[Address]) -> dict[Address, Address]:
    """What ``AccountAdmin.spellings`` returns, without the old names."""
    return {form: name for form, name in admin.spellings().items() if name.key not in renamed}


def _rehearsed(pairs: Mapping[Address, Address]) -> CommandOutcome:
    return CommandOutcome((json.dumps([(str(old), str(new)) for old, new in pairs.items()]),))


def _in_configuration(admin: AccountAdmin, old: Address, text: str) -> AccountError:
    new = admin.address(text)
    places = [Path(folder_name(each.domain), folder_name(each.local)) for each in (old, new)]
    move = "" if admin.mail is None else f", run: mv {admin.mail / places[0]} {admin.mail / places[1]}"
    return AccountError(
        f"{old} is in the configuration: stop the server, change the address of its [[account]] to "
        f"{new}{move}"
    )


def _rename(
    admin: AccountAdmin,
    renamed: Mapping[Address, Address],
    boxes: Mapping[Address, Address],
    *,
    aliases: bool,
) -> None:
    with admin.accounts.changing:
        names = admin.accounts.names()
        accounts = {each.key: renamed[each.key] for each in names.accounts if each.key in renamed}
        after = _after(names, renamed)
        if aliases:
            kept = {old: (new,) for old, new in renamed.items() if old != new.key}
            after = attrs.evolve(after, aliases={**after.aliases, **kept})
        admin.check(after)
        for new in boxes.values():
            admin.release(new)
        admin.moved(boxes)
        admin.accounts.rename(accounts, after)


def _after(names: StoredNames, renamed: Mapping[Address, Address]) -> StoredNames:
    """All names afterwards. An address with a tag, such as old+tag, is renamed, too."""

    def now(address: Address) -> Address:
        if address.key in renamed:
            return renamed[address.key]
        local, plus, tag = address.local.partition("+")
        base = renamed.get(Address(local, address.domain).key) if plus else None
        return address if base is None else Address(f"{base.local}+{tag}", base.domain)

    lists = {
        now(key).key: StoredList(
            tuple(map(now, entry.members)), None if entry.owner is None else now(entry.owner)
        )
        for key, entry in names.lists.items()
    }
    return StoredNames(
        tuple(map(now, names.accounts)),
        {now(key).key: tuple(map(now, to)) for key, to in names.aliases.items()},
        lists,
    )


RENAMING_COMMANDS = {"account rename": account_rename, "domain rename": domain_rename}
