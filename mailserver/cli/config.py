"""``mailserver config``: the values of the configuration, their origins, and its errors."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import click

from mailserver.cli.console import configured
from mailserver.cli.requests import ask_server
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.config.origins import DEFAULT, origins
from mailserver.config.schema.kinds import HIDDEN
from mailserver.config.schema.problems import literal, near, show
from mailserver.config.schema.tables import Tables, leaves_of
from mailserver.config.written import NOT_SET, default_values, values_of
from mailserver.control.channel import CommandFailed
from mailserver.errors import ConfigurationError, one_line

KEYS = dict(leaves_of(Config))
TABLES = {path for path, key in KEYS.items() if isinstance(key.kind, Tables)}

reveal = click.option("--secrets", is_flag=True, help="Show passwords and other secrets.")
running = click.option("--running", is_flag=True, help="Ask the running server for the values in force.")


@attrs.frozen
class SourcedValues:
    """The TOML values of keys by dotted key, and where they come from."""

    values: Mapping[str, object]
    sources: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, *, secrets: bool, running: bool) -> "SourcedValues":
        """Those of a start with this file and this environment, or those of the running server.

        Raises :class:`~mailserver.errors.MailserverError`.
        """
        if not running:
            values = values_of(load(path, os.environ), secrets=secrets)
            return cls(values, origins(path, os.environ))
        [line] = ask_server(path, {"command": "configuration", "secrets": secrets}).lines
        answer = json.loads(line)
        return cls(answer["values"], _sources_now(path, answer["values"], secrets) | answer["external"])

    def source(self, key: str) -> str:
        """The origin of a key."""
        return one_line(self.sources.get(key, DEFAULT))

    def chosen(self, words: tuple[str, ...]) -> Iterator[str]:
        """The keys that the words name: keys, or sections with all their keys. Raises ``UsageError``."""
        for word in words or self.values:
            found = [key for key in KEYS if key == word or key.startswith(f"{word}.")]
            if not found:
                raise _unknown(word)
            yield from (key for key in found if key in self.values)


def _sources_now(path: Path, values: Mapping[str, object], secrets: bool) -> dict[str, str]:
    """Where the values of the running server would come from now, if the file has the same ones."""
    try:
        now = values_of(load(path, os.environ), secrets=secrets)
        lines = origins(path, {})
    except ConfigurationError:
        now, lines = {}, {}
    found: dict[str, str] = {}
    for key, value in values.items():
        if now.get(key) == value:
            found |= {name: line for name, line in lines.items() if name.partition("[")[0] == key}
        else:
            found[key] = f"not as in {path} now"
    return found


def _unknown(word: str) -> click.UsageError:
    sections = {key.partition(".")[0] for key in KEYS}
    guess = near(word, [*KEYS, *sections])
    return click.UsageError(
        f"unknown key {show(word)}; "
        + (f'did you mean "{guess}"?' if guess else "all keys: mailserver config show.")
    )


@click.group("config")
def config_commands() -> None:
    """Show and check the configuration.

    The values are those of a start with the file and with the environment of this command. A server that
    was started with options, or in another environment, has others: see --running.
    """


@config_commands.command("show")
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reveal
@running
@configured
def config_show(keys: tuple[str, ...], as_json: bool, secrets: bool, running: bool, config: Path) -> int:
    """Show the value of each key, and where it comes from.

    The output is a configuration file. Each line ends with the origin of the value: an option, a variable
    of the environment, FILE:LINE, or "default". A KEY may be a section, such as smtp.
    """
    found = SourcedValues.read(config, secrets=secrets, running=running)
    chosen = list(found.chosen(keys))
    if as_json:
        objects = [{"key": key, "value": found.values[key], "source": found.source(key)} for key in chosen]
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in objects)
        click.echo(f"[\n{lines}\n]" if lines else "[]")
        return 0
    for line in _document(found, chosen) if not keys else _assignments(found, chosen):
        click.echo(line)
    return 0


@config_commands.command("get")
@click.argument("key")
@reveal
@running
@configured
def config_get(key: str, secrets: bool, running: bool, config: Path) -> int:
    """Print the value of one key, for scripts.

    A string has no quotes; the items of an array are on lines of their own. Exit status 1 if the key is not
    set, or if it is a secret and --secrets is not given.
    """
    if key not in KEYS:
        raise _unknown(key)
    value = SourcedValues.read(config, secrets=secrets, running=running).values.get(key)
    if value is None:
        raise CommandFailed(f"{key} is not set")
    if value == HIDDEN:
        raise CommandFailed(f"{key} is a secret; to print it, use --secrets")
    for item in value if isinstance(value, list) else [value]:
        click.echo(item if isinstance(item, str) else literal(item))
    return 0


@config_commands.command("check")
@configured
def config_check(config: Path) -> int:
    """Report all errors for which a start with this configuration would fail.

    Prints one line per error. Exit status 1 if there is one.
    """
    # These imports are slow.
    from mailserver.app.check import exposure
    from mailserver.app.configuration import problems

    if lines := problems(config):
        raise ConfigurationError(lines)
    if (warning := exposure(config, load(config, os.environ))) is not None:
        click.echo(f"warning: {warning}")
    click.echo(f"{config}: no errors")
    return 0


@config_commands.command("diff")
@reveal
@running
@configured
def config_diff(secrets: bool, running: bool, config: Path) -> int:
    """Show the keys whose values differ from the defaults, as "show" does.

    The differences between the running server and the file are shown by: mailserver reload --dry-run
    """
    found = SourcedValues.read(config, secrets=secrets, running=running)
    defaults = default_values(str(found.values["hostname"]))
    for key, value in found.values.items():
        if value != defaults.get(key) and key in found.sources:
            before = literal(defaults[key]) if key in defaults else NOT_SET
            click.echo(f"{key} = {literal(value)}  # {found.source(key)} (default: {before})")
    return 0


def _assignments(found: SourcedValues, keys: list[str]) -> Iterator[str]:
    for key in keys:
        yield f"{key} = {literal(found.values[key])}  # {found.source(key)}"


def _document(found: SourcedValues, keys: list[str]) -> Iterator[str]:
    """All keys in their sections."""
    section = ""
    for key in keys:
        value = found.values[key]
        if key in TABLES:
            assert isinstance(value, list)
            for number, table in enumerate(value, 1):
                place = f"{key}[{number}]"
                yield f"\n[[{key}]]  # {found.source(place if place in found.sources else key)}"
                yield from (f"{name} = {literal(item)}" for name, item in table.items())
            continue
        head, _, name = key.rpartition(".")
        if head != section:
            yield f"\n[{head}]"
            section = head
        yield f"{name} = {literal(value)}  # {found.source(key)}"
