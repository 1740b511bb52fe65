"""``mailserver account``, ``alias``, ``list`` and ``import``: from the command line to a request.

A password is never an argument, which other users could see; it travels over the control channel, or
stays in this process. ``accounts`` has what the requests do.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from mailserver.auth import importing
from mailserver.auth.hashing import LONGEST, hash_all, to_json
from mailserver.cli.console import ask_password, configured, told
from mailserver.cli.requests import data_folder, perform, rehearse
from mailserver.control.channel import MAX_LINE
from mailserver.mail.schemes import SCHEMES, is_scheme

address = click.argument("address")


def _ask(config: Path, command: str, **arguments: object) -> int:
    """Have it done, and tell; the exit status. Without a server the configuration is read for it here."""
    request = {"command": command, "config": str(config.absolute()), **arguments}
    _require_room(request)
    return told(perform(data_folder(config), request))


def _require_room(request: Mapping[str, object], more: int = 0) -> None:
    if len(json.dumps(request)) + more > MAX_LINE:
        raise click.ClickException(f"too much at once: a request has at most {MAX_LINE} octets")


def _password(config: Path, command: str, address: str) -> str:
    """A password for a command, which has nothing against the rest of the request."""
    rehearse(data_folder(config), {"command": command, "config": str(config.absolute()), "address": address})
    return ask_password()


# ------------------------------------------------------------ accounts


@click.group
def account() -> None:
    """Accounts beside those in the configuration. ADDRESS may be a local part of the first domain."""


@account.command("add")
@address
@click.option("--no-password", is_flag=True, help="Let it in by app passwords, tokens or certificates alone.")
@configured
def account_add(address: str, no_password: bool, config: Path) -> int:
    """Add an account.

    The password is asked for twice; if standard input is no terminal it is its first line.
    """
    password = None if no_password else _password(config, "account add", address)
    return _ask(config, "account add", address=address, password=password)


@account.command("passwd")
@address
@configured
def account_passwd(address: str, config: Path) -> int:
    """Give an account another password, asked for as by add. Its app passwords stay."""
    password = _password(config, "account passwd", address)
    return _ask(config, "account passwd", address=address, password=password)


@account.command("list")
@configured
def account_list(config: Path) -> int:
    """List all accounts, with what each can log in by."""
    return _ask(config, "account list")


@account.command("disable")
@address
@configured
def account_disable(address: str, config: Path) -> int:
    """Let nobody log in as this account. Its mail is still taken."""
    return _ask(config, "account disable", address=address)


@account.command("enable")
@address
@configured
def account_enable(address: str, config: Path) -> int:
    """Undo disable."""
    return _ask(config, "account enable", address=address)


@account.command("remove")
@address
@configured
def account_remove(address: str, config: Path) -> int:
    """Remove an account. The mail in its mailbox is left in place."""
    return _ask(config, "account remove", address=address)


@account.group("app-password")
def app_password() -> None:
    """Passwords for single programs, each of which can be taken back."""


@app_password.command("add")
@address
@click.argument("name")
@configured
def app_password_add(address: str, name: str, config: Path) -> int:
    """Make a password and print it, which is the only time that it can be seen."""
    return _ask(config, "account app-password add", address=address, name=name)


@app_password.command("list")
@address
@configured
def app_password_list(address: str, config: Path) -> int:
    """List them by name, with the last use."""
    return _ask(config, "account app-password list", address=address)


@app_password.command("revoke")
@address
@click.argument("name")
@configured
def app_password_revoke(address: str, name: str, config: Path) -> int:
    """Take one back."""
    return _ask(config, "account app-password revoke", address=address, name=name)


# ------------------------------------------------------------ aliases and lists


@click.group
def alias() -> None:
    """Addresses that stand for others, beside those in the configuration."""


@alias.command("add")
@address
@click.argument("to", nargs=-1, required=True)
@click.option("--replace", is_flag=True, help="Take the place of the alias that is there.")
@configured
def alias_add(address: str, to: tuple[str, ...], replace: bool, config: Path) -> int:
    """Have the mail for ADDRESS go to others, here or elsewhere."""
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
    """List all aliases, with where they lead."""
    return _ask(config, "alias list")


@click.group("list")
def mailing_list() -> None:
    """Mailing lists, beside those in the configuration."""


@mailing_list.command("add")
@address
@click.argument("members", nargs=-1, required=True)
@click.option("--owner", help="Who gets what comes back; without one it is postmaster.")
@configured
def list_add(address: str, members: tuple[str, ...], owner: str | None, config: Path) -> int:
    """Add a mailing list with these members, here or elsewhere."""
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
    """Have a list get more members."""
    return _ask(config, "list join", address=address, members=list(members))


@mailing_list.command("leave")
@address
@click.argument("members", nargs=-1, required=True)
@configured
def list_leave(address: str, members: tuple[str, ...], config: Path) -> int:
    """Take members off a list, which keeps at least one."""
    return _ask(config, "list leave", address=address, members=list(members))


# ------------------------------------------------------------ accounts of another server


@click.group("import")
def import_() -> None:
    """Take accounts over from another server."""


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
    help="The scheme of passwords that do not tell it themselves, such as SHA512-CRYPT or SHA256.HEX.",
)
@click.option("--replace", is_flag=True, help="Give accounts that are there the password of the file.")
@configured
def passwd_file(file: IO[bytes], domain: str | None, scheme: str | None, replace: bool, config: Path) -> int:
    """Add the accounts in Dovecot's passwd-file, or in lines of user:hash. "-" is standard input.

    Prints a line for each line of the file that is not taken, with the reason; the others are imported all
    the same. Exit status 1 if there is any.
    """
    text = file.read().decode("utf-8-sig", "surrogateescape")
    arguments = {"domain": domain, "scheme": scheme, "replace": replace}
    return _ask(config, "import passwd-file", **_hashed(config, text, arguments), **arguments)


def _hashed(config: Path, text: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """The text, with the passwords that are plain in it hashed: here, as it may take minutes."""
    request = {"command": "import passwd-file", "config": str(config.absolute()), "text": text, **arguments}
    _require_room(request)
    outcome = rehearse(data_folder(config), request)
    plan = json.loads(outcome.lines[0]) if outcome.lines else {"lines": [], "mechanisms": []}
    passwords = importing.plain_passwords(text, plan["lines"], str(arguments["scheme"] or ""))
    _require_room(request, len(passwords) * LONGEST)
    with _progress(len(passwords)) as tell:
        made = hash_all(passwords, plan["mechanisms"], tell)
    text = importing.without_passwords(text, made)
    return {"text": text, "made": {str(number): to_json(one) for number, one in made.items()}}


@contextmanager
def _progress(number: int) -> Iterator[Callable[[int], None]]:
    """How far it is, on a terminal."""
    shown = number > 0 and sys.stderr.isatty()

    def tell(done: int) -> None:
        if shown:
            click.echo(f"\rhashing passwords: {done} of {number}", nl=False, err=True)

    try:
        yield tell
    finally:
        if shown:
            click.echo(err=True)
