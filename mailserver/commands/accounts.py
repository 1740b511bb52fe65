"""The commands about accounts, aliases and lists, in a running server or without one.

Each command blocks, also while it hashes a password, and raises :class:`~mailserver.errors.MailserverError`.
Its changes are on the disk when it returns, and in force once the caller has read the store again. A request
with ``rehearse`` is only checked, before the user is asked for a password.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from mailserver.accounts import passwd_file
from mailserver.accounts.bulk_hashing import from_json
from mailserver.accounts.credentials import StoredCredentials, make_credentials
from mailserver.accounts.directory import Account
from mailserver.accounts.entries import KINDS, StoredList
from mailserver.commands.account_admin import AccountAdmin, text_in, texts_in
from mailserver.commands.renaming import RENAMING_COMMANDS
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.errors import AccountError, one_line
from mailserver.mail.address import Address
from mailserver.mail.names import folder_name


def _new(admin: AccountAdmin, request: Request) -> Address:
    address = admin.name(text_in(request, "address"))
    admin.require_new(address, admin.spellings())
    return address


def _existing(admin: AccountAdmin, request: Request) -> Address:
    return admin.existing(text_in(request, "address"))


def _changeable(admin: AccountAdmin, request: Request) -> Address:
    return admin.changeable(text_in(request, "address"))


def _done(text: str) -> CommandOutcome:
    return CommandOutcome((one_line(text),))


# ------------------------------------------------------------ accounts


def _account_add(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = admin.name(text_in(request, "address"))
    admin.require_mailbox(address, admin.spellings())
    admin.accounts.require_free(address)
    if request.get("rehearse") is True:
        return CommandOutcome(())
    password = text_in(request, "password") if request.get("password") is not None else None
    admin.release(address)
    admin.accounts.add(address, password, admin.mechanisms)
    return _done(f"{address} is added{'' if password else ', without a password'}")


def _account_passwd(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _changeable(admin, request)
    if request.get("rehearse") is True:
        admin.accounts.account(address)
        return CommandOutcome(())
    admin.accounts.set_password(address, text_in(request, "password"), admin.mechanisms)
    return _done(f"{address} has a new password")


def _account_list(admin: AccountAdmin, request: Request) -> CommandOutcome:
    stored = admin.accounts.accounts()
    if request.get("json") is True:
        return CommandOutcome(tuple(_account_objects(admin, stored)))
    return _list(
        admin, "account", {account.address: ", ".join(_facts(account)) for account in stored.values()}
    )


def _account_objects(admin: AccountAdmin, stored: Mapping[Address, Account]) -> Iterator[str]:
    """An object for each account. Those in the configuration override stored ones."""
    configured = {address for address, kind in admin.taken.items() if kind == "account"}
    for address in sorted({*configured, *(each for each in stored if each not in admin.taken)}):
        account = None if address in configured else stored[address]
        password = account.password if account is not None else None
        yield json.dumps(
            {
                "address": str(address),
                "is_configured": account is None,
                "is_disabled": account is not None and account.disabled,
                "password": password.scheme if password is not None else None,
                "app_passwords": len(account.app_passwords) if account is not None else 0,
            }
        )


def _facts(account: Account) -> list[str]:
    facts = [account.password.scheme if account.password is not None else "no password"]
    facts += [f"SCRAM keys ({hash_name})" for hash_name in account.scram]
    if account.secret is not None:
        facts.append("recoverable secret")
    if account.app_passwords:
        facts.append(_count(len(account.app_passwords), "app password"))
    return [*facts, "disabled"] if account.disabled else facts


def _account_disable(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _changeable(admin, request)
    admin.accounts.disable(address)
    return _done(f"{address} is disabled: logins are rejected, mail is still accepted")


def _account_enable(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _changeable(admin, request)
    admin.accounts.enable(address)
    return _done(f"{address} is enabled")


def _account_remove(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _existing(admin, request)
    with admin.accounts.changing:
        names = admin.accounts.names()
        left = tuple(each for each in names.accounts if each.key != address.key)
        admin.check_unused(address, attrs.evolve(names, accounts=left))
        admin.accounts.remove(address)
    return _done(f"{address} is removed; its mailbox stays on the disk")


def _account_mailbox(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = admin.address(text_in(request, "address"))
    if admin.mail is None:
        raise CommandFailed('storage.engine is not "maildir": the mailboxes are not files on the disk')
    if admin.taken.get(address.key) != "account":
        admin.accounts.account(address)
    return _done(str(admin.mail / folder_name(address.domain) / folder_name(address.local)))


def _app_password_add(admin: AccountAdmin, request: Request) -> CommandOutcome:
    return CommandOutcome(
        (admin.accounts.add_app_password(_changeable(admin, request), text_in(request, "name")),)
    )


def _app_password_list(admin: AccountAdmin, request: Request) -> CommandOutcome:
    account = admin.accounts.account(_existing(admin, request))
    return CommandOutcome(
        tuple(
            one_line(f"{each.name}: created {_when(each.made)}, last used {_when(each.used)}")
            for each in account.app_passwords
        )
    )


def _app_password_revoke(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address, name = _existing(admin, request), text_in(request, "name")
    admin.accounts.revoke_app_password(address, name)
    return _done(f"the app password {name} of {address} is revoked")


# ------------------------------------------------------------ aliases and lists


def _alias_add(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _new(admin, request)
    to = tuple(map(admin.address, texts_in(request, "to")))
    with admin.accounts.changing:
        names = admin.accounts.names()
        admin.check(attrs.evolve(names, aliases={**names.aliases, address.key: to}))
        admin.accounts.set_alias(address, to, replace=request.get("replace") is True)
    return _done(f"{address} leads to {_joined(to)}")


def _alias_remove(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _existing(admin, request)
    with admin.accounts.changing:
        names = admin.accounts.names()
        left = {each: to for each, to in names.aliases.items() if each != address.key}
        admin.check_unused(address, attrs.evolve(names, aliases=left))
        admin.accounts.remove_alias(address)
    return _done(f"{address} is removed")


def _alias_list(admin: AccountAdmin, request: Request) -> CommandOutcome:
    stored = admin.accounts.aliases()
    return _list(admin, "alias", {address: _joined(to) for address, to in stored.items()})


def _list_add(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _new(admin, request)
    members = tuple(map(admin.address, texts_in(request, "members")))
    owner = admin.address(text_in(request, "owner")) if request.get("owner") is not None else None
    stored = StoredList(members, owner)
    with admin.accounts.changing:
        _check_list(admin, address, stored)
        admin.accounts.set_list(address, stored)
    return _list_has(admin, address)


def _list_has(admin: AccountAdmin, address: Address) -> CommandOutcome:
    number = len(admin.accounts.lists()[address.key].members)
    return _done(f"{address} has {_count(number, 'member')}")


def _check_list(admin: AccountAdmin, address: Address, stored: StoredList) -> None:
    names = admin.accounts.names()
    admin.check(attrs.evolve(names, lists={**names.lists, address.key: stored}))


def _list_remove(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _existing(admin, request)
    with admin.accounts.changing:
        names = admin.accounts.names()
        left = {each: stored for each, stored in names.lists.items() if each != address.key}
        admin.check_unused(address, attrs.evolve(names, lists=left))
        admin.accounts.remove_list(address)
    return _done(f"{address} is removed")


def _list_list(admin: AccountAdmin, request: Request) -> CommandOutcome:
    facts = {}
    for address, stored in admin.accounts.lists().items():
        owner = f"; owner {stored.owner}" if stored.owner is not None else ""
        facts[address] = f"{_joined(stored.members)}{owner}"
    return _list(admin, "list", facts)


def _list_join(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _changeable(admin, request)
    members = tuple(map(admin.address, texts_in(request, "members")))
    with admin.accounts.changing:
        now = admin.accounts.lists().get(address.key)
        if now is not None:
            _check_list(admin, address, attrs.evolve(now, members=now.members + members))
        admin.accounts.join(address, members)
    return _list_has(admin, address)


def _list_leave(admin: AccountAdmin, request: Request) -> CommandOutcome:
    address = _changeable(admin, request)
    admin.accounts.leave(address, map(admin.address, texts_in(request, "members")))
    return _list_has(admin, address)


# ------------------------------------------------------------ accounts of another server


def _import_passwd_file(admin: AccountAdmin, request: Request) -> CommandOutcome:
    """``made`` has the credentials of some lines, by their number. With ``rehearse`` the only line printed is
    JSON: the numbers of the lines with a plain password, and the mechanisms that it is for."""
    text = request.get("text")
    if not isinstance(text, str):
        raise CommandFailed("the request has no text")
    domain = text_in(request, "domain") if request.get("domain") is not None else None
    scheme = text_in(request, "scheme") if request.get("scheme") is not None else ""
    replace = request.get("replace") is True
    made = request.get("made")
    if not isinstance(made, dict):
        made = {}
    plain: list[int] = []
    refused: dict[int, str] = {}
    taken: dict[Address, StoredCredentials] = {}
    spellings = admin.spellings()
    for each in passwd_file.read(text, lambda user: admin.name(user, domain), scheme):
        if isinstance(each, passwd_file.RejectedLine):
            refused[each.number] = each.reason
            continue
        kind = admin.accounts.kind_of(each.address)
        if kind is None or (kind == "account" and replace):
            try:
                admin.require_mailbox(each.address, spellings)
                if each.password.scheme == "plain":
                    plain.append(each.number)
                if kind is None and request.get("rehearse") is not True:
                    admin.release(each.address)
                if str(each.number) in made:
                    taken[each.address] = from_json(made[str(each.number)])
                elif request.get("rehearse") is not True:
                    taken[each.address] = _credentials(admin, each)
            except AccountError as error:
                refused[each.number] = str(error)
        else:
            refused[each.number] = f"{each.address} is already {KINDS[kind]}; not changed"
    if request.get("rehearse") is True:
        return CommandOutcome((json.dumps({"lines": plain, "mechanisms": [*admin.mechanisms]}),))
    admin.accounts.import_accounts(taken, replace)
    lines = [one_line(f"line {number}: {reason}") for number, reason in refused.items()]
    summary = f"{_count(len(taken), 'account')} imported"
    if refused:
        summary += f", {_count(len(refused), 'line')} not imported"
    return CommandOutcome((*lines, summary), status=1 if refused else 0)


def _credentials(admin: AccountAdmin, found: passwd_file.ImportedLine) -> StoredCredentials:
    if found.password.scheme == "none":
        return StoredCredentials(None)
    if found.password.scheme == "plain":
        return make_credentials(found.password.value, admin.mechanisms)
    return StoredCredentials(found.password)


# ------------------------------------------------------------ words


def _list(admin: AccountAdmin, kind: str, stored: Mapping[Address, str]) -> CommandOutcome:
    """A line for each, those of the configuration among them."""
    facts = {address: "in the configuration" for address, taken in admin.taken.items() if taken == kind}
    for address, fact in stored.items():
        shadowed = address.key in admin.taken
        facts[address] = f"{fact}; overridden by the configuration" if shadowed else fact
    return CommandOutcome(tuple(one_line(f"{address}: {facts[address]}") for address in sorted(facts)))


def _joined(addresses: Sequence[Address]) -> str:
    return ", ".join(map(str, addresses))


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else "never"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


ACCOUNT_COMMANDS: Mapping[str, Callable[[AccountAdmin, Request], CommandOutcome]] = {
    "account add": _account_add,
    "account passwd": _account_passwd,
    "account list": _account_list,
    "account disable": _account_disable,
    "account enable": _account_enable,
    "account mailbox": _account_mailbox,
    "account remove": _account_remove,
    "account app-password add": _app_password_add,
    "account app-password list": _app_password_list,
    "account app-password revoke": _app_password_revoke,
    "alias add": _alias_add,
    "alias remove": _alias_remove,
    "alias list": _alias_list,
    "list add": _list_add,
    "list remove": _list_remove,
    "list list": _list_list,
    "list join": _list_join,
    "list leave": _list_leave,
    "import passwd-file": _import_passwd_file,
    **RENAMING_COMMANDS,
}
"""The commands by name; the request has their arguments."""
