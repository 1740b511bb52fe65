"""``mailserver init``: asks a few questions, and makes a new server."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
import click

from mailserver.accounts.credentials import new_app_password
from mailserver.cli.console import ask_password, valid_argument
from mailserver.cli.dns import zone_lines
from mailserver.config.loader import DEFAULT_CONFIG, load
from mailserver.config.schema.dns_kinds import DNS_NAME
from mailserver.config.schema.kinds import Context
from mailserver.config.schema.mail_kinds import IP_ADDRESS, MAILBOX_HERE
from mailserver.durable.disk import Disk
from mailserver.durable.owned import group
from mailserver.errors import storage_error
from mailserver.mail.address import Address

if TYPE_CHECKING:
    from mailserver.app.new_server import ListenPorts, NewServer, ServerUser

T = TypeVar("T")

USER = "mailserver"
DATA = Path("/var/lib/mailserver")
UNIT, UNIT_FOLDERS = "mailserver.service", (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
NO_CERTIFICATE = "none"
_PORTS = '"standard", "high", or five numbers such as "25,465,587,995,110"'


@attrs.frozen
class SetupQuestions:
    """Gets the answers: from options, or from a terminal, or the defaults. ``asks``: there is a terminal."""

    asks: bool

    def answer(self, given: str | None, question: str, default: str | None, check: Callable[[str], T]) -> T:
        """A checked answer. ``check`` raises ``click.ClickException``; a terminal asks again then."""
        if given is not None:
            return check(given)
        if default is not None and not self.asks:
            return check(default)

        def checked(text: str) -> T:
            try:
                return check(text)
            except click.ClickException as error:
                raise click.UsageError(error.message) from None

        answer: T = click.prompt(question, default=default, value_proc=checked, err=True)
        return answer


@click.command
@click.option("--domain", help="Domain of the mail addresses.")
@click.option("--hostname", metavar="NAME", help='Name of this server. Default: "mail." and the domain.')
@click.option("--account", metavar="ADDRESS", help='First account. Default: "postmaster".')
@click.option("--certificate", metavar="FILE", help='PEM file. Default: "none", the server makes one.')
@click.option(
    "--private-key", metavar="FILE", help='PEM file. Default: "privkey.pem" beside the certificate.'
)
@click.option(
    "--ports",
    help="Ports of SMTP, of submission with TLS and with STARTTLS, of POP3 with TLS and with STLS: "
    '"standard" for 25,465,587,995,110, "high" for 2525,2465,2587,2995,2110, or five numbers; 0 is any free '
    'port. Default: "standard", with --dir "high".',
)
@click.option("--host", metavar="IP", help="Address to listen on. Default: all, with --dir 127.0.0.1.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help=f"Folder for everything. Default: {Path(DEFAULT_CONFIG).parent}, and {DATA} for the data.",
)
@click.option("--user", help=f'Owner of the data. Default: "{USER}", with --dir the user who runs this.')
@click.option("--yes", is_flag=True, help="Ask no questions: take the defaults, and generate the password.")
def init(
    domain: str | None,
    hostname: str | None,
    account: str | None,
    certificate: str | None,
    private_key: str | None,
    ports: str | None,
    host: str | None,
    folder: Path | None,
    user: str | None,
    yes: bool,
) -> int:
    """Set up a new server.

    Makes the configuration, the data directory, the first account and DKIM keys, and prints the DNS records
    of the domain. Asks for everything that no option gives. If standard input is not a terminal, takes the
    defaults, and its first line is the password. Never changes a file that exists: exit status 1 if there is
    a configuration.
    """
    from mailserver.app.new_server import CONFIG_NAME, NewServer  # slow, and no other command needs it

    asks = not yes and sys.stdin.isatty()
    if domain is None and not asks:
        raise click.UsageError("--domain is missing.")
    own_folder = folder is not None
    folder = (folder or Path(DEFAULT_CONFIG).parent).absolute()
    if os.path.lexists(folder / CONFIG_NAME):
        raise click.ClickException(f"{folder / CONFIG_NAME} exists; nothing is changed")
    owner = _user(user, own_folder)
    ask = SetupQuestions(asks).answer
    domain = ask(domain, "Domain of the mail addresses", None, _name)
    hostname = ask(hostname, "Name of this server", f"mail.{domain}", _name)
    context = Context(domains=(domain,))
    address: Address = ask(
        account,
        "First account",
        f"postmaster@{domain}",
        lambda text: valid_argument(text, MAILBOX_HERE, attrs.evolve(context, addresses={})),
    )
    files: tuple[Path, Path] | None = None
    question = f'Certificate, a PEM file, or "{NO_CERTIFICATE}": the server makes one'
    if chain := ask(certificate, question, NO_CERTIFICATE, _certificate):
        beside = str(chain.with_name("privkey.pem"))
        files = chain, ask(private_key, "Its private key", beside, lambda text: _private_key(text, chain))
    elif private_key is not None:
        raise click.UsageError("--private-key has no use without --certificate.")
    host = _host(host, own_folder)
    defaults = _default_ports(host) if own_folder and ports is None else "standard"
    chosen = ask(
        ports,
        "Ports of SMTP, submission (TLS, STARTTLS) and POP3 (TLS, STLS)",
        defaults,
        lambda text: _ports(text, host),
    )
    password = new_app_password() if yes else ask_password()
    new = NewServer(
        folder=folder,
        data=Path("data") if own_folder else DATA,
        hostname=hostname,
        domain=domain,
        account=address,
        password=password,
        certificate=files,
        host=host,
        ports=chosen,
        user=owner,
    )
    try:
        new.make(Disk())
    except FileExistsError as error:
        raise click.ClickException(f"{error.filename or error} exists; nothing is changed") from None
    except OSError as error:
        raise storage_error(error) from None
    _print_outcome(new, password if yes else None)
    return 0


def _print_outcome(new: "NewServer", password: str | None) -> None:
    from mailserver.app.zone import ZoneCheck

    click.echo(f"Configuration: {new.config}")
    click.echo(f"Data: {new.folder / new.data}")
    click.echo(f"Account: {new.account}")
    if password is not None:
        click.echo(f"Password: {password}")
        click.echo("The password is not shown again; mailserver account passwd sets another one.")
    for file in new.certificate or ():
        if new.user is not None and not new.user.may_read(file):
            click.echo(f"WARNING: the user {new.user.name} cannot read {file}: renewals would fail.")
    click.echo()
    check = ZoneCheck(new.config, load(new.config, os.environ), new.domain, ())
    click.echo("\n".join(zone_lines(check.check_host())))
    click.echo(f"\nPublish these records, then start the server:\n\n  {_start(new)}")


def _start(new: "NewServer") -> str:
    """The command that starts the server."""
    system = new.config == Path(DEFAULT_CONFIG)
    if system and any((folder / UNIT).exists() for folder in UNIT_FOLDERS):
        return f"systemctl enable --now {UNIT.removesuffix('.service')}"
    twistd = Path(sys.executable).with_name("twistd")
    words = [str(twistd) if twistd.exists() else "twistd", "-n", "--pidfile="]
    if new.user is not None:
        words += ["--uid", new.user.name, "--gid", group(new.user.groups[0])]
    words.append("mailserver")
    if not system:
        words += ["--config", str(new.config)]
    return shlex.join(words)


# ------------------------------------------------------------ answers


def _user(name: str | None, own_folder: bool) -> "ServerUser | None":
    """The user who shall own the files; None for the one who runs this."""
    from mailserver.app.new_server import ServerUser

    if os.geteuid() != 0:
        if own_folder and name is None:
            return None
        raise click.ClickException("only root can do this; use --dir, without --user")
    if own_folder and name is None:
        return None
    name = name or USER
    try:
        return ServerUser.find(name)
    except KeyError:
        raise click.ClickException(
            f"the user {name} does not exist; create it: useradd --system --home-dir {DATA} "
            f"--shell /usr/sbin/nologin {name}"
        ) from None


def _name(text: str) -> str:
    name = valid_argument(text.removesuffix("."), DNS_NAME)
    if "." not in name:
        raise click.UsageError(f'"{name}" has no dot; allowed: {DNS_NAME.allowed}.')
    return name


def _certificate(text: str) -> Path | None:
    from mailserver.app.new_server import certificate_problem

    if text == NO_CERTIFICATE:
        return None
    certificate = Path(text).absolute()
    if problem := certificate_problem(certificate):
        raise click.ClickException(problem)
    return certificate


def _private_key(text: str, certificate: Path) -> Path:
    from mailserver.app.new_server import certificate_problem

    private_key = Path(text).absolute()
    if problem := certificate_problem(certificate, private_key):
        raise click.ClickException(problem)
    return private_key


def _host(text: str | None, own_folder: bool) -> str:
    from mailserver.app.new_server import all_addresses

    if text is not None:
        return str(valid_argument(text, IP_ADDRESS))
    return "127.0.0.1" if own_folder else all_addresses()


def _default_ports(host: str) -> str:
    """The high ports, without those that are not free."""
    from mailserver.app.new_server import HIGH_PORTS, free_port, port_problem

    return ",".join(str(free_port(host) if port_problem(host, port) else port) for port in HIGH_PORTS)


def _ports(text: str, host: str) -> "ListenPorts":
    from mailserver.app.new_server import HIGH_PORTS, STANDARD_PORTS, ListenPorts, port_problem

    named = {"standard": STANDARD_PORTS, "high": HIGH_PORTS}
    try:
        ports = named[text] if text in named else ListenPorts(*map(int, text.split(",")))
    except (TypeError, ValueError):
        raise click.UsageError(f'"{text}" is no ports; allowed: {_PORTS}.') from None
    used = [port for port in ports if port]
    if min(ports) < 0 or max(ports) > 65535 or len(set(used)) < len(used):
        raise click.UsageError(f'"{text}" has an invalid port, or one twice; allowed: {_PORTS}.')
    for port in used:
        if problem := port_problem(host, port):
            raise click.ClickException(f"{problem}; choose other --ports, or stop the program that uses it")
    return ports
