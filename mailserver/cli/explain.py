"""``mailserver explain``: what the server would do with a message, and why."""

import ipaddress
from pathlib import Path
from typing import BinaryIO

import click

from mailserver.cli.console import configured
from mailserver.errors import AddressError
from mailserver.mail.address import Address, ReversePath


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> Address | None:
    if value is None:
        return None
    try:
        return Address.parse(value.removeprefix("<").removesuffix(">"))
    except AddressError as error:
        raise click.BadParameter(f"{error}; allowed: a mail address.") from None


def _reverse_path(context: click.Context, parameter: click.Parameter, value: str) -> ReversePath:
    return None if value in ("", "<>") else _address(context, parameter, value)


def _ip(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        raise click.BadParameter(f"{error}; allowed: an IP address.") from None


@click.command
@click.option(
    "--from", "sender", required=True, callback=_reverse_path, help='Reverse-path; "<>" for a bounce.'
)
@click.option("--to", "recipient", required=True, callback=_address, help="Recipient.")
@click.option("--ip", required=True, callback=_ip, help="IP address of the client.")
@click.option("--helo", help="Name in its EHLO. Default: the address in square brackets.")
@click.option("--login", callback=_address, help="Account of the client, as if it had logged in.")
@click.option(
    "--message",
    type=click.File("rb"),
    help='File with the message, "-" for standard input. Default: a short one.',
)
@configured
def explain(
    sender: ReversePath,
    recipient: Address,
    ip: str,
    helo: str | None,
    login: Address | None,
    message: BinaryIO | None,
    config: Path,
) -> int:
    """Show what the server would do with a message, and why.

    Runs the checks of the configuration in their order, and prints each decision with its configuration key
    and the DNS answers that it had. Nothing is counted, stored or sent. Exit status 1 if the message would be
    rejected or deferred.
    """
    from mailserver.app.explain import DryRun, Supposed  # slow, and no other command needs it

    literal = f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
    content = b"" if message is None else _with_crlf(message.read())
    supposed = Supposed(
        ip=ip, helo=helo or literal, sender=sender, recipient=recipient, login=login, message=content
    )
    explained = DryRun(config, supposed).run()
    click.echo("\n".join(explained.lines))
    return 0 if explained.accepted else 1


def _with_crlf(octets: bytes) -> bytes:
    """A message with the line ends of the wire."""
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
