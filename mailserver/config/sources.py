"""Values from outside the file: environment variables and command-line options.

Their names follow from the schema. ``MAILSERVER__SMTP__MAX_RECIPIENTS`` and
``--smtp-max-recipients`` both mean the key ``max_recipients`` of the table [smtp]. Names in the
environment with single underscores alone belong to other programs.
"""

from collections.abc import Mapping
from typing import NamedTuple

import attrs

from mailserver.config.keys.top_level import Config
from mailserver.config.schema.problems import InvalidValue, unknown
from mailserver.config.schema.tables import Key, leaves_of

PREFIX = "MAILSERVER__"

_LEAVES: dict[str, Key] = dict(leaves_of(Config))


class Option(NamedTuple):
    """A command-line option: its ``name`` without the dashes, and the ``key`` that it sets."""

    name: str
    key: str
    doc: str


def options() -> list[Option]:
    """The options of the command line: every key but secrets and tables."""
    return [Option(_option(path), path, key.doc) for path, key in _LEAVES.items() if key.kind.on_command_line]


def _option(path: str) -> str:
    return path.replace(".", "-").replace("_", "-")


def _variable(path: str) -> str:
    return PREFIX + path.upper().replace(".", "__")


@attrs.frozen
class ExternalValue:
    """The ``text`` for the key at ``path``, and its name where it was given: ``label``."""

    path: str
    label: str
    text: str = attrs.field(repr=False)

    def value(self) -> object:
        """The TOML value. Raises :class:`Refused`."""
        kind = _LEAVES[self.path].kind
        try:
            self.text.encode()
            return kind.from_text(self.text)
        except UnicodeEncodeError:
            raise InvalidValue("it is not UTF-8", kind.allowed) from None
        except InvalidValue as error:
            raise InvalidValue(error.what, error.allowed or kind.allowed) from None


def given(environ: Mapping[str, str], overrides: Mapping[str, str]) -> tuple[list[ExternalValue], list[str]]:
    """What is set outside the file, each key once, and a line for each name that does not exist.

    ``overrides`` has the texts of the command line by dotted key; they win over ``environ``.
    """
    variables = {_variable(path): path for path in _LEAVES}
    found: dict[str, ExternalValue] = {}
    lines = []
    for name, text in environ.items():
        if name in variables:
            found[variables[name]] = ExternalValue(variables[name], name, text)
        elif name.startswith(PREFIX):
            lines.append(f"{name}: {unknown('name', name, list(variables))}")
    for path, text in overrides.items():
        if path in _LEAVES:
            found[path] = ExternalValue(path, f"--{_option(path)}", text)
        else:
            known = [f"--{option.name}" for option in options()]
            lines.append(f"--{_option(path)}: {unknown('option', f'--{_option(path)}', known)}")
    return list(found.values()), lines
