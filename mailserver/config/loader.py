"""From a file, the environment and the command line to a :class:`~mailserver.config.keys.top_level.Config`.

What comes first wins: command line, environment, file, defaults. Nothing is looked at but the file
itself and what is passed in: whether a certificate exists or an endpoint can be bound is for others
to find out.
"""

import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

from mailserver.config.keys.top_level import CONFIG, Config
from mailserver.config.schema.kinds import Context
from mailserver.config.schema.problems import InvalidKeys, InvalidValue
from mailserver.config.schema.tables import leaves_of
from mailserver.config.sources import given
from mailserver.errors import ConfigurationError, one_line

DEFAULT_CONFIG = "/etc/mailserver/mailserver.toml"


def load(path: Path, environ: Mapping[str, str] = {}, overrides: Mapping[str, str] = {}) -> Config:
    """Read the configuration.

    ``overrides`` has the texts of the command line by dotted key (see ``sources.options``). Raises
    :class:`ConfigurationError` with one line for each thing that is wrong.
    """
    tree = read_tree(path)
    labels = {}
    outside, lines = given(environ, overrides)
    for item in outside:
        labels[item.path] = item.label
        try:
            _put(tree, item.path, item.value())
        except InvalidValue as error:
            lines.append(f"{item.label}: {error.what}; allowed: {error.allowed}")
    try:
        config = CONFIG.read(tree, _surroundings(tree, path))
    except InvalidKeys as wrong:
        lines += [f"{_place(problem.key, path, labels)}: {problem.text}" for problem in wrong.problems]
    if lines:
        raise ConfigurationError(list(dict.fromkeys(map(one_line, lines))))
    return config


def load_data_directory(path: Path, environ: Mapping[str, str]) -> Path:
    """Read the key ``data`` alone. Other errors in the file do not matter: the server may have been started
    with other options. Raises :class:`ConfigurationError`."""
    try:
        tree = read_tree(path)
        named = {"data": tree["data"]} if "data" in tree else {}
        for item in given(environ, {})[0]:
            if item.path == "data":
                named["data"] = item.value()
        return CONFIG.read(named, Context(folder=path.absolute().parent)).data
    except (InvalidValue, InvalidKeys):
        return load(path, environ).data  # reports all errors


# What is wrong for a parser of TOML, and what to do about it.
_ADVICE = {
    "Unescaped": "within double quotes a backslash is written twice",
    "Invalid value": 'a text stands in straight quotes: "…"',
    "Cannot declare": "a section stands in the file once",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_tree(path: Path) -> dict[str, object]:
    """The tables of a file. Raises :class:`ConfigurationError`."""
    octets = b""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise ConfigurationError([f"{path}: is a pipe; allowed: a file, which is read again at a reload"])
        octets = path.read_bytes()
        # Editors of Windows put a byte order mark in front.
        return tomllib.loads(octets.decode("utf-8-sig"))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        what = f"is not UTF-8: octet {error.start + 1}"
        if octets.startswith(_UTF_16):
            what = "is UTF-16; allowed: UTF-8"
    except RecursionError:
        what = "is nested too deeply"
    except ValueError as error:
        # mostly a TOMLDecodeError, which tells line and column
        advice = [f"; {advice}" for start, advice in _ADVICE.items() if str(error).startswith(start)]
        what = f"is not valid TOML: {error}{''.join(advice)}"
    raise ConfigurationError([one_line(f"{path}: {what}")])


def _put(tree: dict[str, object], path: str, value: object) -> None:
    *sections, name = path.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            return  # it is reported as such
        tree = below
    tree[name] = value


def _surroundings(tree: Mapping[str, object], path: Path) -> Context:
    misspelt = CONFIG.misspelt(tree)
    context = Context(
        folder=path.absolute().parent,
        domains=None,
        tls="tls" in tree or "tls" in misspelt,
        # of two with one name the first: tls.certificate, not [[certificate]]
        homes={leaf.rpartition(".")[2]: leaf for leaf, _ in reversed(list(leaves_of(Config)))},
    )
    # addresses need the domains, whatever else is wrong
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
