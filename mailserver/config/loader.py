"""From a file, the environment and the command line to a :class:`~mailserver.config.keys.top_level.Config`.

Order of precedence: command line, environment, file, defaults. All errors are reported at once, one per line.
Only the file is read: whether a certificate exists or an endpoint can be bound is checked elsewhere.
"""

import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

from mailserver.config.keys.top_level import CONFIG, Config
from mailserver.config.schema.kinds import CREDENTIALS, Context
from mailserver.config.schema.problems import InvalidKeys, InvalidValue
from mailserver.config.schema.tables import leaves_of
from mailserver.config.sources import external_values
from mailserver.errors import ConfigurationError, one_line

DEFAULT_CONFIG = "/etc/mailserver/mailserver.toml"


def load(path: Path, environ: Mapping[str, str] = {}, overrides: Mapping[str, str] = {}) -> Config:
    """Read the configuration.

    ``overrides`` has the texts of the command line by dotted key (see ``sources.options``). Raises
    :class:`ConfigurationError` with one line for each error.
    """
    tree = read_tree(path)
    labels = {}
    outside, lines = external_values(environ, overrides)
    for item in outside:
        labels[item.path] = item.label
        try:
            _put(tree, item.path, item.value())
        except InvalidValue as error:
            lines.append(f"{item.label}: {error.what}; allowed: {error.allowed}")
    try:
        config = CONFIG.read(tree, _context(tree, path, environ))
    except InvalidKeys as invalid:
        lines += [f"{_place(problem.key, path, labels)}: {problem.text}" for problem in invalid.problems]
    if lines:
        raise ConfigurationError(list(dict.fromkeys(map(one_line, lines))))
    return config


def load_data_directory(path: Path, environ: Mapping[str, str]) -> Path:
    """Read only the key ``data``. Other errors in the file do not matter: the server may have been started
    with other options. Raises :class:`ConfigurationError`."""
    try:
        tree = read_tree(path)
        named = {"data": tree["data"]} if "data" in tree else {}
        for item in external_values(environ, {})[0]:
            if item.path == "data":
                named["data"] = item.value()
        return CONFIG.read(named, Context(folder=path.absolute().parent)).data
    except (InvalidValue, InvalidKeys):
        return load(path, environ).data  # reports all errors


# How to fix some errors of the TOML parser.
_ADVICE = {
    "Unescaped": "in double quotes, write a backslash twice",
    "Invalid value": 'put strings in straight quotes: "…"',
    "Cannot declare": "write each section once",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_tree(path: Path) -> dict[str, object]:
    """The top-level table of a file. Raises :class:`ConfigurationError`."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except RecursionError:
        what = "the file is nested too deeply"
    except ValueError as error:
        # Usually a TOMLDecodeError, whose text has the line and the column.
        advice = [f"; {advice}" for start, advice in _ADVICE.items() if str(error).startswith(start)]
        what = f"invalid TOML: {error}{''.join(advice)}"
    raise ConfigurationError([one_line(f"{path}: {what}")])


def read_text(path: Path) -> str:
    """The text of a file. Raises :class:`ConfigurationError`."""
    octets = b""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise ConfigurationError([f"{path}: is a pipe; allowed: a file, which a reload can read again"])
        octets = path.read_bytes()
        # Editors on Windows may write a byte order mark.
        return octets.decode("utf-8-sig")
    except OSError as error:
        what = f"cannot read the file: {error.strerror}"
    except UnicodeDecodeError as error:
        what = f"the file is not UTF-8: octet {error.start + 1}"
        if octets.startswith(_UTF_16):
            what = "the file is UTF-16; allowed: UTF-8"
    except ValueError as error:
        what = f"cannot read the file: {error}"  # a NUL character in the path
    raise ConfigurationError([one_line(f"{path}: {what}")])


def _put(tree: dict[str, object], path: str, value: object) -> None:
    *sections, name = path.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            return  # reading the table reports it
        tree = below
    tree[name] = value


def _context(tree: Mapping[str, object], path: Path, environ: Mapping[str, str]) -> Context:
    misspelt = CONFIG.misspelt(tree)
    context = Context(
        folder=path.absolute().parent,
        credentials=Path(environ.get("CREDENTIALS_DIRECTORY") or CREDENTIALS),
        domains=None,
        tls="tls" in tree or "tls" in misspelt,
        # If two have the same name, the first: tls.certificate, not [[certificate]].
        homes={leaf.rpartition(".")[2]: leaf for leaf, _ in reversed(list(leaves_of(Config)))},
    )
    # Addresses need the domains, even if other keys are invalid.
    name = "domains" if "domains" in tree else "hostname"
    if {"domains", "hostname"} & misspelt:
        return context
    try:
        return attrs.evolve(
            context, domains=CONFIG.read({name: tree[name]} if name in tree else {}, context).domains
        )
    except InvalidKeys:
        return context


def _place(key: str, path: Path, labels: Mapping[str, str]) -> str:
    for leaf, label in labels.items():
        if key == leaf:
            return label
        if key.startswith((f"{leaf}.", f"{leaf}[")):
            return f"{label}: {key}"
    return f"{path}: {key}"
