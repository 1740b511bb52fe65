"""The documented configuration file, made from the schema.

``python -m mailserver.config.document > etc/mailserver.toml`` writes it anew after a change there.
"""

import sys
import textwrap
from collections.abc import Iterator

from mailserver.config.keys.top_level import Config
from mailserver.config.schema.problems import literal
from mailserver.config.schema.tables import Key, Table, Tables, keys_of

_WIDTH = 100

_HEAD = """\
# Configuration of mailserver: every key, what it means, what is allowed, and its default.
#
# To change something, remove the "# " in front of its line, and in front of the heading in
# brackets above it where that has one, too. What is left as it is keeps its default.
#
# Durations are written "500ms", "5s", "5m", "4h", "5d", or as a number of seconds; sizes "64 KiB",
# "50 MiB", "1 GiB", "10 MB", or as a number of octets. Paths are relative to the folder of this file.
# Errors count from one: account[1] is the first [[account]].
#
# A key can be set outside this file, too. What comes first here wins:
#
#   1. the command line:  twistd -n mailserver --smtp-max-recipients 200
#      (all keys but passwords, url, token.key, catch_all, routes and the tables in double brackets)
#   2. the environment:   MAILSERVER__SMTP__MAX_RECIPIENTS=200
#      (two underscores between the parts; lists with commas between the items, tables as in TOML:
#      MAILSERVER__LISTEN='[{ protocol = "smtp", endpoint = "tcp:25" }]')
#   3. this file
#   4. the defaults
"""


def render() -> str:
    """The text of ``etc/mailserver.toml``."""
    blocks = [_HEAD]
    for key in keys_of(Config):
        blocks += _block(key)
    return "\n".join(blocks)


def _block(key: Key) -> Iterator[str]:
    if isinstance(key.kind, Tables):
        table, heading = key.kind.table, f"# [[{key.name}]]"
    elif isinstance(key.kind, Table):
        # an active heading would be a section that is there
        table, heading = key.kind, f"# [{key.name}]" if key.default is None else f"[{key.name}]"
    else:
        yield _key(key)
        return
    yield f"\n{_comment(key.doc)}{heading}\n"
    yield from map(_key, keys_of(table.cls))


def _key(key: Key) -> str:
    value = key.default if key.example is None else key.example
    return f"{_comment(f'{key.doc} Allowed: {key.kind.allowed}.')}# {key.name} = {literal(value)}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False))


if __name__ == "__main__":
    sys.stdout.buffer.write(render().encode())
