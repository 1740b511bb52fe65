"""``mailserver account``, ``alias``, ``list`` and ``import``: from the command line to a request.

A password is never an argument, which other users could see. It goes through the control socket, or stays in
this process. ``commands.accounts`` performs the requests.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import click

from mailserver.accounts.bulk_hashing import LONGEST, hash_all, to_json
from mailserver.accounts.passwd_file import plain_passwords, without_passwords
from mailserver.cli.console import ask_password, configured, print_outcome
from mailserver.cli.progress import progress
from mailserver.cli.requests import data_folder, perform, rehearse
from mailserver.control.channel import MAX_LINE
from mailserver.mail.schemes import SCHEMES, is_scheme

address = click.argument("address")


def _ask(config: Path, command: str, **arguments: object) -> int:
    """Perform a command and print its outcome; return the exit status."""
    request = {"command": command, "config": str(config.absolute()), **arguments}
    _require_room(request)
    return print_outcome(perform(data_folder(config), request))


def _require_room(request: Mapping[str, object], more: int = 0) -> None:
    if len(json.dumps(request)) + more > MAX_LINE:
        raise click.ClickException(f"the request is too large; allowed: {MAX_LINE} octets")


def _password(config: Path, command: str, address: str) -> str:
    """Ask for the password of a command that accepts the rest of the request."""
    rehearse(data_folder(config), {"command": command, "config": str(config.absolute()), "address": address})
    return ask_password()


# ------------------------------------------------------------ accounts


@click.group
def account() -> None:
    """Manage accounts that are not in the configuration.

    ADDRESS may be a local part in the first domain.
    """


@account.command("add")
@address
@click.option("--no-password", is_flag=True, help="Allow only app passwords, tokens and certificates.")
@configured
def account_add(address: str, no_password: bool, config: Path) -> int:
    """Add an account.

    Asks for the password twice. If standard input is not a terminal, its first line is the password.
    """
    password = None if no_password else _password(config, "account add", address)
    return _ask(config, "account add", address=address, password=password)


@account.command("passwd")
@address
@configured
def account_passwd(address: str, config: Path) -> int:
    """Change the password of an account.

    Asks for the password twice. If standard input is not a terminal, its first line is the password. App
    passwords stay valid.
    """
    password = _password(config, "account passwd", address)
    return _ask(config, "account passwd", address=address, password=password)


@account.command("list")
@configured
def account_list(config: Path) -> int:
    """List all accounts, with the ways to log in to each."""
    return _ask(config, "account list")


@account.command("disable")
@address
@configured
def account_disable(address: str, config: Path) -> int:
    """Reject all logins to an account. It still receives mail."""
    return _ask(config, "account disable", address=address)


@account.command("enable")
@address
@configured
def account_enable(address: str, config: Path) -> int:
    """Allow logins to a disabled account."""
    return _ask(config, "account enable", address=address)


@account.command("mailbox")
@address
@configured
def account_mailbox(address: str, config: Path) -> int:
    """Print the folder of an account's mailbox, a Maildir."""
    return _ask(config, "account mailbox", address=address)


no_alias = click.option("--no-alias", is_flag=True, help="Reject mail for the old name.")


@account.command("rename")
@click.argument("old")
@click.argument("new")
@no_alias
@configured
def account_rename(old: str, new: str, no_alias: bool, config: Path) -> int:
    """Give an account another address, also in another domain of this server.

    Its mailbox, passwords, aliases and list memberships stay with it. The old address becomes an alias.
    """
    return _ask(config, "account rename", old=old, new=new, aliases=not no_alias)


@click.group
def domain() -> None:
    """Rename domains."""


@domain.command("rename")
@click.argument("old")
@click.argument("new")
@no_alias
@configured
def domain_rename(old: str, new: str, no_alias: bool, config: Path) -> int:
    """Move all accounts, aliases and lists of a domain to another domain of this server.

    The old addresses become aliases. Both domains must be in the configuration.
    """
    return _ask(config, "domain rename", old=old, new=new, aliases=not no_alias)


@account.command("remove")
@address
@configured
def account_remove(address: str, config: Path) -> int:
    """Remove an account. Its mailbox stays on the disk."""
    return _ask(config, "account remove", address=address)


@account.group("app-password")
def app_password() -> None:
    """Manage passwords for single programs."""


@app_password.command("add")
@address
@click.argument("name")
@configured
def app_password_add(address: str, name: str, config: Path) -> int:
    """Generate a password and print it. It is not shown again."""
    return _ask(config, "account app-password add", address=address, name=name)


@app_password.command("list")
@address
@configured
def app_password_list(address: str, config: Path) -> int:
    """List the app passwords of an account, with their last use."""
    return _ask(config, "account app-password list", address=address)


@app_password.command("revoke")
@address
@click.argument("name")
@configured
def app_password_revoke(address: str, name: str, config: Path) -> int:
    """Revoke an app password."""
    return _ask(config, "account app-password revoke", address=address, name=name)


# ------------------------------------------------------------ aliases and lists


@click.group
def alias() -> None:
    """Manage aliases that are not in the configuration."""


@alias.command("add")
@address
@click.argument("to", nargs=-1, required=True)
@click.option("--replace", is_flag=True, help="Replace an existing alias.")
@configured
def alias_add(address: str, to: tuple[str, ...], replace: bool, config: Path) -> int:
    """Forward the mail for ADDRESS to other addresses, here or on other servers."""
    return _ask(config, "alias add", address=address, to=list(to), replace=replace)


@alias.command("remove")
@address
@configured
def alias_remove(address: str, config: Path) -> int:
    """Remove an alias."""
    return _ask(config, "alias remove", address=address)


@alias.command("list")
@configured
def alias_list(config: Path) -> int:
    """List all aliases, with their targets."""
    return _ask(config, "alias list")


@click.group("list")
def mailing_list() -> None:
    """Manage mailing lists that are not in the configuration."""


@mailing_list.command("add")
@address
@click.argument("members", nargs=-1, required=True)
@click.option("--owner", help="The address that receives bounces. Default: postmaster.")
@configured
def list_add(address: str, members: tuple[str, ...], owner: str | None, config: Path) -> int:
    """Add a mailing list."""
    return _ask(config, "list add", address=address, members=list(members), owner=owner)


@mailing_list.command("remove")
@address
@configured
def list_remove(address: str, config: Path) -> int:
    """Remove a mailing list."""
    return _ask(config, "list remove", address=address)


@mailing_list.command("list")
@configured
def list_list(config: Path) -> int:
    """List all mailing lists, with their members."""
    return _ask(config, "list list")


@mailing_list.command("join")
@address
@click.argument("members", nargs=-1, required=True)
@configured
def list_join(address: str, members: tuple[str, ...], config: Path) -> int:
    """Add members to a mailing list."""
    return _ask(config, "list join", address=address, members=list(members))


@mailing_list.command("leave")
@address
@click.argument("members", nargs=-1, required=True)
@configured
def list_leave(address: str, members: tuple[str, ...], config: Path) -> int:
    """Remove members from a mailing list. One must remain."""
    return _ask(config, "list leave", address=address, members=list(members))


# ------------------------------------------------------------ accounts of another server


@click.group("import")
def import_() -> None:
    """Import accounts and mail from another server."""


def _scheme(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    if name is not None and not is_scheme(name):
        raise click.BadParameter(
            f"{name!r} is unknown; known: {', '.join(SCHEMES)}, each also with .HEX, .B64 or .BASE64."
        )
    return name


@import_.command("passwd-file")
@click.argument("file", type=click.File("rb"))
@click.option("--domain", help="The domain of users without one. Default: the first of the domains.")
@click.option(
    "--scheme",
    callback=_scheme,
    help="The scheme of passwords without a prefix, such as SHA512-CRYPT or SHA256.HEX.",
)
@click.option("--replace", is_flag=True, help="Replace the passwords of existing accounts.")
@configured
def passwd_file(file: IO[bytes], domain: str | None, scheme: str | None, replace: bool, config: Path) -> int:
    """Import the accounts in a passwd-file of Dovecot, or in lines of user:hash. "-" is standard input.

    Prints a line with the reason for each line of the file that cannot be imported; all other lines are
    imported. Exit status 1 if there is such a line.
    """
    text = file.read().decode("utf-8-sig", "surrogateescape")
    arguments = {"domain": domain, "scheme": scheme, "replace": replace}
    return _ask(config, "import passwd-file", **_hashed(config, text, arguments), **arguments)


def _hashed(config: Path, text: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """The text with its plain passwords hashed. This process does it, as it may take minutes."""
    request = {"command": "import passwd-file", "config": str(config.absolute()), "text": text, **arguments}
    _require_room(request)
    outcome = rehearse(data_folder(config), request)
    plan = json.loads(outcome.lines[0]) if outcome.lines else {"lines": [], "mechanisms": []}
    passwords = plain_passwords(text, plan["lines"], str(arguments["scheme"] or ""))
    _require_room(request, len(passwords) * LONGEST)
    with progress("passwords hashed") as show:
        made = hash_all(passwords, plan["mechanisms"], lambda done: show(done, len(passwords)))
    text = without_passwords(text, made)
    return {"text": text, "made": {str(number): to_json(one) for number, one in made.items()}}
