"""mailserver(8): the commands, with their arguments and options."""

import inspect
from collections.abc import Iterator

import click

from mailserver.cli.pages import roff
from mailserver.config.loader import DEFAULT_CONFIG

_ABOUT = """
A mail server receives mail by SMTP, serves it by POP3, and sends mail to other servers. This command sets
one up and administers it. If the server runs, a command sends its request to it; otherwise the command opens
the data itself.
"""
_START = """
The server is a plugin of `twistd`, which starts it: in the foreground with `-n`, otherwise in the background.
The option `--config` names another configuration file; `--ready-file` a file that the server writes when all
listeners are open. Each key of the configuration has an option, too: `twistd mailserver --help` lists them.
"""
_CONFIG = f"""
The option `--config` of a command names the configuration file. The default is {DEFAULT_CONFIG}.
"""
_STATUS = (
    ("0", "Done."),
    ("1", "Failed, or a check has found a problem. The reason is on standard error."),
    ("2", "Wrong usage. The command sendmail has the exit statuses of sysexits.h instead."),
)
_FILES = (
    (DEFAULT_CONFIG, "The configuration, see `mailserver.toml`(5)."),
    ("/var/lib/mailserver", "The default data directory: mailboxes, accounts, the queue, and control.sock."),
)


def command_page(command: click.Group) -> str:
    """The page of the program with these commands."""
    return "".join(_page(command))


def _page(program: click.Group) -> Iterator[str]:
    yield roff.head("mailserver", 8, "System Administration", "set up and administer a mail server")
    yield roff.section("Synopsis")
    yield f"{roff.bold('mailserver')} {roff.italic('COMMAND')} [{roff.italic('OPTION')}...]\n"
    yield f"[{roff.italic('ARGUMENT')}...]\n.br\n{roff.bold('twistd -n mailserver')}\n"
    yield f"[{roff.bold('--config')} {roff.italic('FILE')}]\n"
    yield f"[{roff.bold('--ready-file')} {roff.italic('FILE')}]\n"
    yield roff.section("Description")
    yield roff.paragraphs(_ABOUT, _START)
    yield roff.section("Commands")
    yield roff.paragraphs(_CONFIG)
    yield from _commands(program, click.Context(program, info_name="mailserver"))
    yield roff.section("Exit status")
    yield from (roff.item(roff.bold(status), text) for status, text in _STATUS)
    yield roff.section("Files")
    yield from (roff.item(roff.italic(name), text) for name, text in _FILES)
    yield roff.section("See also")
    yield ".BR mailserver.toml (5),\n.BR twistd (1)\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in sorted(group.commands):
        command = group.commands[name]
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, below)
        else:
            yield _command(command, below)


def _command(command: click.Command, context: click.Context) -> str:
    arguments = [one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)]
    parts = inspect.cleandoc(command.help or "").split("\n\n")
    options = [one for one in command.params if isinstance(one, click.Option) and one.name != "config"]
    heading = roff.subsection(" ".join([context.command_path, *arguments]))
    return heading + roff.paragraphs(*parts) + "".join(map(_option, options))


def _option(option: click.Option) -> str:
    tag = ", ".join(map(roff.bold, option.opts))
    if not option.is_flag:
        tag += f" {roff.italic(_metavar(option))}"
    default = [f"Default: {option.default}."] if option.show_default and not option.is_flag else []
    return roff.item(tag, option.help or "", *default)


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    number = isinstance(option.type, click.types.IntParamType)
    return "NUMBER" if number else "PATH" if isinstance(option.type, click.Path) else "TEXT"
