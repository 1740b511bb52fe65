"""Values from outside the file: environment variables and command-line options.

Their names are made from the keys: ``MAILSERVER__SMTP__MAX_RECIPIENTS`` and ``--smtp-max-recipients`` both
set the key ``max_recipients`` of the section [smtp]. Variables with single underscores only belong to other
programs.
"""

from collections.abc import Mapping
from typing import NamedTuple

import attrs

from mailserver.config.keys.top_level import Config
from mailserver.config.schema.problems import InvalidValue, unknown
from mailserver.config.schema.scalars import Choice
from mailserver.config.schema.tables import Key, leaves_of

PREFIX = "MAILSERVER__"

_LEAVES: dict[str, Key] = dict(leaves_of(Config))


class Option(NamedTuple):
    """A command-line option: its ``name`` without dashes, the ``key`` that it sets, and its help."""

    name: str
    key: str
    doc: str


def options() -> list[Option]:
    """The options of the command line: all keys except secrets and tables."""
    return [
        Option(_option(path), path, f"{key.doc}{_choices(key)} Default: {key.default_text}.")
        for path, key in _LEAVES.items()
        if key.kind.on_command_line
    ]


def _choices(key: Key) -> str:
    return f" Allowed: {key.kind.allowed}." if isinstance(key.kind, Choice) else ""


def _option(path: str) -> str:
    return path.replace(".", "-").replace("_", "-")


def _variable(path: str) -> str:
    return PREFIX + path.upper().replace(".", "__")


@attrs.frozen
class ExternalValue:
    """The ``text`` for the key at ``path``; ``label`` is the name of its variable or option."""

    path: str
    label: str
    text: str = attrs.field(repr=False)

    def value(self) -> object:
        """The TOML value. Raises :class:`InvalidValue`."""
        kind = _LEAVES[self.path].kind
        try:
            self.text.encode()
            return kind.from_text(self.text)
        except UnicodeEncodeError:
            raise InvalidValue("the text is not UTF-8", kind.allowed) from None
        except InvalidValue as error:
            raise InvalidValue(error.what, error.allowed or kind.allowed) from None


def external_names(environ: Mapping[str, str], overrides: Mapping[str, str] = {}) -> dict[str, str]:
    """The name of the option or of the variable that sets a key, by dotted key."""
    return {item.path: item.label for item in external_values(environ, overrides)[0]}


def external_values(
    environ: Mapping[str, str], overrides: Mapping[str, str]
) -> tuple[list[ExternalValue], list[str]]:
    """All values from outside the file, one per key, and an error line for each unknown name.

    ``overrides`` has the texts of the command line by dotted key; they take precedence over ``environ``.
    """
    variables = {_variable(path): path for path in _LEAVES}
    found: dict[str, ExternalValue] = {}
    lines = []
    for name, text in environ.items():
        if name in variables:
            found[variables[name]] = ExternalValue(variables[name], name, text)
        elif name.startswith(PREFIX):
            lines.append(f"{name}: {unknown('variable', name, list(variables))}")
    for path, text in overrides.items():
        if path in _LEAVES:
            found[path] = ExternalValue(path, f"--{_option(path)}", text)
        else:
            known = [f"--{option.name}" for option in options()]
            lines.append(f"--{_option(path)}: {unknown('option', f'--{_option(path)}', known)}")
    return list(found.values()), lines
