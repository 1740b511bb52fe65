"""``mailserver dkim``: makes the keys that sign outgoing mail, and prints their DNS records.

The configuration is never written: a command prints the sections to add.
"""

import os
import time
from pathlib import Path

import click

from mailserver.app.signing import read_keys
from mailserver.cli.console import configured, valid_argument
from mailserver.cli.requests import data_folder, owner
from mailserver.commands.zone.zone_file import record_line, text_data
from mailserver.config.loader import load
from mailserver.config.schema.dns_kinds import DNS_NAME, SELECTOR
from mailserver.durable.disk import Disk
from mailserver.policy.dkim.keys import (
    KeyKind,
    SigningKey,
    key_record,
    make_key,
    write_pem,
)
from mailserver.policy.dkim.signature import key_name

FOLDER = "dkim"  # beside the configuration file
BOTH: tuple[KeyKind, ...] = ("rsa", "ed25519")


@click.group
def dkim() -> None:
    """Manage the keys that sign outgoing mail (DKIM)."""


@dkim.command("make")
@click.argument("domain")
@click.option("--selector", help="Selector, to which -rsa or -ed25519 is added. Default: the year and month.")
@click.option("--kind", type=click.Choice(["both", *BOTH]), default="both", show_default=True, help="Keys.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help=f'Folder for the key files. Default: "{FOLDER}" beside the configuration file.',
)
@configured
def make(domain: str, selector: str | None, kind: str, folder: Path | None, config: Path) -> int:
    """Make keys for DOMAIN.

    Prints the DNS records to publish and the sections to add to the configuration. An RSA key is for every
    receiver, an Ed25519 key for those that know it. If the domain has keys already, the new ones replace
    them.
    """
    domain = valid_argument(domain, DNS_NAME)
    selector = valid_argument(selector or time.strftime("%Y%m"), SELECTOR)
    kinds = BOTH if kind == "both" else [one for one in BOTH if one == kind]
    folder = folder or config.absolute().parent / FOLDER
    files = {one: folder / f"{domain}-{selector}-{one}.pem" for one in kinds}
    for file in files.values():
        if file.exists():
            raise click.ClickException(f"{file} exists; choose another --selector")
    old = [one for one in load(config, os.environ).dkim if one.domain == domain]
    keys = {one: make_key(one) for one in kinds}
    try:
        _write(folder, {files[one]: keys[one] for one in kinds}, config)
    except OSError as error:
        raise click.ClickException(f"cannot write to {folder}: {error.strerror}") from None
    click.echo("1. Publish these DNS records:\n")
    for one in kinds:
        click.echo(_record(domain, f"{selector}-{one}", keys[one]))
    click.echo(f"\n2. When they are visible, add this to {config}:\n")
    for one in kinds:
        click.echo(_section(domain, f"{selector}-{one}", files[one]))
    click.echo("3. Run: mailserver reload")
    if old:
        names = ", ".join(one.selector for one in old)
        click.echo(
            f"\nThese keys replace those with the selectors {names}: remove their sections in step 2. Keep "
            "their DNS records for a week, since mail that they signed may still be on its way."
        )
    return 0


@dkim.command("records")
@click.argument("domain", required=False)
@configured
def records(domain: str | None, config: Path) -> int:
    """Print the DNS records of the keys in the configuration, of DOMAIN or of all domains.

    Exit status 1 if there is no key.
    """
    wanted = None if domain is None else valid_argument(domain, DNS_NAME)
    try:
        found = [
            _record(section.domain, section.selector, key)
            for section, key in read_keys(load(config, os.environ))
            if wanted in (None, section.domain)
        ]
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if not found:
        raise click.ClickException(f"the configuration has no key{f' for {wanted}' if wanted else ''}")
    click.echo("\n".join(found))
    return 0


def _write(folder: Path, keys: dict[Path, SigningKey], config: Path) -> None:
    """Write the key files for the owner of the data directory: a running server must be able to read them."""
    disk = Disk()
    disk.make_dirs(folder)
    for file, key in keys.items():
        disk.replace(file, write_pem(key))
    data = data_folder(config)
    if os.geteuid() == 0 and data.exists():
        status = owner(data)
        for path in (folder, *keys):
            os.chown(path, status.st_uid, status.st_gid)


def _record(domain: str, selector: str, key: SigningKey) -> str:
    """A line of a zone file."""
    return record_line(key_name(selector, domain), "TXT", text_data(key_record(key)))


def _section(domain: str, selector: str, file: Path) -> str:
    return f'[[dkim]]\ndomain = "{domain}"\nselector = "{selector}"\nkey = "{file}"\n'
