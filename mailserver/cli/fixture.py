"""``mailserver fixture``: a mail server for tests in any language, as a program."""

import json
import os
import signal
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from mailserver.durable.disk import Disk
from mailserver.errors import CannotStart, ConfigurationError

LISTENERS = ("smtp", "submission", "smtps", "pop3", "pop3s")
ENDING = {signal.SIGTERM, signal.SIGINT}
PARENT_INTERVAL = 0.2  # seconds between two checks whether the parent lives

_PORT = click.IntRange(0, 65535)


def _port_options(command: Any) -> Any:
    for name in reversed(LISTENERS):
        text = f"Port of {name}; a free one if not given."
        command = click.option(f"--{name}-port", type=_PORT, help=text)(command)
    return command


@click.command()
@click.option("--seed", type=int, help="Make ids, dates and chance the same in each run.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write URL and ports here, as JSON.")
@click.option("--profile", help="Look and behave like this server, for example gmail.")
@click.option("--accept", help="Accept mail for any address, for accounts only, or relay it.", default="any")
@click.option("--tls", help='"true", "false", or the name of a fault, for example expired.', default="true")
@click.option("--hostname", help="Name of the server.")
@click.option("--domain", help="Domain of accounts without one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="IP address to listen on.")
@click.option("--port", default=0, type=_PORT, help="Port of HTTP; a free one if not given.")
@_port_options
@click.option("--set", "keys", multiple=True, metavar="SECTION.KEY=VALUE", help="Key of the configuration.")
@click.option("--allow-host", "names", multiple=True, help="Name that clients of HTTP use for this machine.")
@click.option("--exit-with-parent", is_flag=True, help="End when the program that started this one ends.")
def fixture(
    ready_file: Path | None,
    port: int,
    keys: tuple[str, ...],
    names: tuple[str, ...],
    exit_with_parent: bool,
    **options: Any,
) -> int:
    """Run a mail server for tests, which JSON over HTTP steers.

    Prints one line when it is ready: the URL of the API, and the ports. SIGTERM or SIGINT ends it with exit
    status 0.
    """
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # before any thread starts: all threads inherit it
    # Other commands need no server: they do not import it.
    from mailserver.testing.http.program import FixtureProgram
    from mailserver.testing.server import MailServer
    from mailserver.testing.settings import SECTIONS

    try:
        server = MailServer(**_settings(options, keys, SECTIONS))
    except (ConfigurationError, TypeError, ValueError) as error:
        said = "; ".join(str(error).splitlines())
        raise click.UsageError(said if said.endswith("?") else f"{said}.") from None
    program = FixtureProgram(server, host=options["host"], port=port, allowed_hosts=names)
    program.start()
    try:
        listeners = program.listeners()
        if ready_file is not None:
            _write(ready_file, program.url, listeners)
        ports = " ".join(f"{each['name']}={each['port']}" for each in listeners)
        click.echo(f"ready: {program.api} {ports}")
        while signal.sigtimedwait(ENDING, PARENT_INTERVAL if exit_with_parent else 3600.0) is None:
            if exit_with_parent and os.getppid() != parent:
                break
    finally:
        program.stop()
    return 0


def _settings(options: dict[str, Any], keys: tuple[str, ...], sections: Collection[str]) -> dict[str, Any]:
    """The settings of the server, of those options that were given."""
    ports = {name: options.pop(f"{name}_port") for name in LISTENERS}
    settings: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    settings["ports"] = {name: port for name, port in ports.items() if port is not None}
    settings["tls"] = {"true": True, "false": False}.get(options["tls"], options["tls"])
    for key in keys:
        name, _, value = key.partition("=")
        section, _, name = name.partition(".")
        if section not in sections:
            raise ValueError(f"--set {key}: no section {section}; allowed: {', '.join(sections)}")
        try:
            settings.setdefault(section, {})[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"--set {key}: the value is not TOML: {error}") from None
    return settings


def _write(ready_file: Path, url: str, listeners: list[dict[str, Any]]) -> None:
    names = ("protocol", "tls", "host", "port")
    content = {
        "pid": os.getpid(),
        "http": url,
        "listeners": [{name: each[name] for name in names} for each in listeners],
    }
    try:
        Disk().replace(ready_file, json.dumps(content).encode() + b"\n")
    except OSError as error:
        raise CannotStart(f"--ready-file {ready_file}: {error.strerror}") from error
