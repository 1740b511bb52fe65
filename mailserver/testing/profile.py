"""Profiles: how well-known servers look and behave from outside.

A profile is a TOML file in ``profiles``. Each fact in it has its source: public documentation, the source
code of the server, or a public transcript.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from mailserver.faults.restyle import PLACEHOLDER, PLACEHOLDERS, ReplyStyle
from mailserver.faults.situations import BEFORE_LOGIN, SITUATIONS

FOLDER = Path(__file__).parent / "profiles"
PROFILES = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
"""The names."""

Fact = dict[str, Any]
"""A table with a value or more, and the key ``source``: a name in the table "sources", or a list of them."""


@attrs.frozen
class Profile:
    """One server. ``smtp`` and ``pop3`` are the styles of its replies; that of a protocol that it has not is
    empty, and changes nothing.

    ``settings`` of this server give it the limits of the other one, and the rest that is more than looks, by
    their sections "smtp" and "pop3". ``oddities`` tell more of its behavior, which is not imitated.
    ``sources`` has the source of each fact, by its place in the file, such as "smtp.replies.greeting".
    """

    name: str
    about: str
    smtp: ReplyStyle
    pop3: ReplyStyle
    settings: Mapping[str, Mapping[str, int]]
    oddities: tuple[str, ...]
    sources: Mapping[str, str]

    def style(self, protocol: str) -> ReplyStyle:
        """The style of a protocol, "smtp" or "pop3"."""
        return self.smtp if protocol == "smtp" else self.pop3


@cache
def load_profile(name: str) -> Profile:
    """The profile with this name. Raises ValueError if there is none, or if its file is wrong."""
    if name not in PROFILES:
        close = difflib.get_close_matches(name.lower(), PROFILES, 1, 0.5)
        meant = f'; did you mean "{close[0]}"?' if close else ""
        raise ValueError(f'no profile "{name}"; allowed: {", ".join(PROFILES)}{meant}')
    return read_profile(name, tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8")))


def read_profile(name: str, document: Fact) -> Profile:
    """A profile from the content of its file. Raises ValueError with the place of what is wrong."""
    known: Fact = document.get("sources", {})
    sources = {place: _source(place, fact, known) for place, fact in _facts("", document)}
    _check_keys("", document, {"about", "sources", "oddity", "smtp", "pop3"})
    tables = {protocol: document[protocol] for protocol in ("smtp", "pop3") if protocol in document}
    for protocol, table in tables.items():
        _check_keys(
            protocol, table, {"status_codes", "unknown", "settings", "capabilities", "after_login", "replies"}
        )
    return Profile(
        name=name,
        about=document["about"],
        smtp=_style("smtp", document),
        pop3=_style("pop3", document),
        settings={
            protocol: {key: fact["value"] for key, fact in table.get("settings", {}).items()}
            for protocol, table in tables.items()
        },
        oddities=tuple(oddity["text"] for oddity in document.get("oddity", ())),
        sources=sources,
    )


def _style(protocol: str, document: Fact) -> ReplyStyle:
    table: Fact = document.get(protocol, {})
    capabilities: Fact = table.get("capabilities", {})
    unknown = table.get("unknown", {}).get("value", ())
    replies = {
        situation: _reply(protocol, situation, fact) for situation, fact in table.get("replies", {}).items()
    }
    if unknown and "unknown-command" not in replies:
        raise ValueError(f"{protocol}.unknown: there is no reply to an unknown command")
    return ReplyStyle(
        protocol=protocol,
        replies=replies,
        capabilities=_lines(f"{protocol}.capabilities", capabilities),
        after_login=_lines(f"{protocol}.after_login", table.get("after_login", {})),
        only_shown=frozenset(capabilities.get("only_shown", ())),
        before_tls=frozenset(capabilities.get("before_tls", ())),
        status_codes=table.get("status_codes", {}).get("value", True),
        unknown=frozenset(unknown),
    )


def _lines(place: str, fact: Fact) -> tuple[str, ...]:
    return tuple(_checked(place, line) for line in fact.get("lines", ()))


def _reply(protocol: str, situation: str, fact: Fact) -> tuple[str, ...]:
    """The lines of a reply. It may have another code than ours, but one of the same class."""
    place = f"{protocol}.replies.{situation}"
    statuses = {row.name: row.status for row in SITUATIONS[protocol]}
    status = statuses.get(situation.removesuffix(BEFORE_LOGIN))
    if status is None:
        raise ValueError(f"{place}: no such situation; allowed: {', '.join(statuses)}")
    text = fact["text"]
    lines = [text] if isinstance(text, str) else list(text)
    for line in lines:
        if protocol == "pop3" and (not f"{line} ".startswith(f"{status} ") or len(lines) > 1):
            raise ValueError(f"{place}: not a line that begins with {status}")
        code = line[:3]
        if protocol == "smtp" and (code[0] != status[0] or not code.isdigit() or code != lines[0][:3]):
            raise ValueError(f"{place}: not lines with a code of the class {status[0]}")
    return tuple(_checked(place, line) for line in lines)


def _checked(place: str, line: str) -> str:
    for name in PLACEHOLDER.findall(line):
        if name not in PLACEHOLDERS:
            allowed = ", ".join(sorted(PLACEHOLDERS))
            raise ValueError(f"{place}: no placeholder {{{name}}}; allowed: {allowed}")
    if not (line.isascii() and line.isprintable()):
        raise ValueError(f"{place}: not printable ASCII")
    return line


def _facts(place: str, table: Fact) -> Iterator[tuple[str, Fact]]:
    """The tables that tell something, with their places."""
    for key, value in table.items():
        below = f"{place}.{key}".lstrip(".")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from ((f"{below}[{number}]", each) for number, each in enumerate(value))
        elif isinstance(value, dict) and below != "sources":
            if all(isinstance(each, dict) for each in value.values()):
                yield from _facts(below, value)
            else:
                yield below, value


def _source(place: str, fact: Fact, known: Fact) -> str:
    named = fact.get("source", ())
    names = [named] if isinstance(named, str) else list(named)
    if not names or not set(names) <= known.keys():
        raise ValueError(f"{place}: its source is not one of {', '.join(known)}")
    return "; ".join([known[each] for each in names])


def _check_keys(place: str, table: Fact, allowed: set[str]) -> None:
    if unknown := table.keys() - allowed:
        raise ValueError(f"{place or 'the file'}: unknown key {', '.join(sorted(unknown))}")
