"""Writes DNS records as lines of a master file (RFC 1035 section 5.1)."""

import textwrap
from collections.abc import Iterator

from mailserver.errors import one_line
from mailserver.policy.dkim.keys import record_strings

TTL = 3600  # seconds
WIDTH = 98  # columns of a comment


def record_line(name: str, kind: str, data: str) -> str:
    """A record. ``name`` has no final dot."""
    return f"{name}. IN {kind} {data}"


def text_data(text: str) -> str:
    """The data of a TXT record: one string, or several in parentheses if the text is long."""
    strings = [f'"{part}"' for part in record_strings(text)]
    return strings[0] if len(strings) == 1 else f"( {' '.join(strings)} )"


def comment(text: str, indent: int = 0) -> Iterator[str]:
    """The lines of a comment. Those after the first are indented by so many more columns."""
    more = f"; {' ' * indent}"
    yield from textwrap.wrap(
        one_line(text),
        WIDTH,
        initial_indent="; ",
        subsequent_indent=more,
        break_long_words=False,
        break_on_hyphens=False,
    )
