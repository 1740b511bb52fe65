"""The documented configuration file, made from the keys.

``python -m mailserver.config.document > etc/mailserver.toml`` writes it. Run it after each change of a key.
"""

import sys
import textwrap
from collections.abc import Iterator

from mailserver.config.keys.top_level import Config
from mailserver.config.schema.problems import literal
from mailserver.config.schema.tables import Key, Table, Tables, keys_of

_WIDTH = 100

_HEAD = """\
# Configuration of mailserver: all keys, with their descriptions, allowed values and defaults.
#
# To set a key, remove the "# " before its line, and before the heading of its section if that has one,
# and change the value. All other keys keep their defaults. Some lines show an example instead of the
# default.
#
# Durations are written "500ms", "5s", "5m", "4h", "5d", or as a number of seconds. Sizes are written
# "64 KiB", "50 MiB", "1 GiB", "10 MB", or as a number of octets. Relative paths start at the folder of
# this file. "credential:NAME" in place of a path is a file that systemd passes (LoadCredential=NAME:…).
# Error messages count from 1: account[1] is the first [[account]].
#
# Keys can also be set outside this file. In order of precedence:
#
#   1. The command line:  twistd -n mailserver --smtp-max-recipients 200
#      (all keys except password, url, token.key, catch_all, routes, tls_domains and the sections in
#      double brackets)
#   2. The environment:   MAILSERVER__SMTP__MAX_RECIPIENTS=200
#      (two underscores between section and key; commas between the items of an array; tables as in
#      TOML: MAILSERVER__LISTEN='[{ protocol = "smtp", endpoint = "tcp:25" }]')
#   3. This file
#   4. The defaults
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
        # An optional section must not be there without its keys.
        table, heading = key.kind, f"# [{key.name}]" if key.default is None else f"[{key.name}]"
    else:
        yield _key(key)
        return
    default = _comment(f"Default: {key.note}.") if key.note else ""
    yield f"\n{_comment(key.doc)}{default}{heading}\n"
    yield from map(_key, keys_of(table.cls))


def _key(key: Key) -> str:
    value = key.default if key.example is None else key.example
    default = f"Default: {key.default_text}" if key.default_text else "Required"
    comments = [key.doc, f"Allowed: {key.kind.allowed}.", f"{default}."]
    return f"{''.join(map(_comment, comments))}# {key.name} = {literal(value)}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False))


if __name__ == "__main__":
    sys.stdout.buffer.write(render().encode())
