"""docs/logging.md, made from the classes of the events: ``python -m tests.support.event_reference``."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import attrs

from mailserver import events
from mailserver.events.base import FIELDS, Event

DOCUMENT = Path(__file__).parents[2] / "docs/logging.md"

HEAD = """\
# Log events

The server reports each thing that happens as an event. An event is one line of the log, as text or as JSON
([administration.md](administration.md#the-log)). This page lists all events. It is generated from their
classes in `mailserver/events/`.

The namespace of a line is `mailserver.` and the class of its event: `[mailserver.MessageAccepted#info]` in
text, `"namespace": "mailserver.MessageAccepted"` in JSON. Scripts should search for this name, because the
sentences may change. In JSON, `event` is the sentence, and each field has its own key. The levels are
`debug`, `info`, `warn`, `error` and `critical`.

Each section below gives the meaning of an event, the sentence of its line with the fields in braces, its
level, and its fields. The table at the end explains the fields.

## The journal of systemd

With `format = "journal"` each event goes to the journal, with its fields, by the native protocol:

```toml
[log]
format = "journal"
```

| field | content |
|---|---|
| `MESSAGE` | the sentence |
| `PRIORITY` | 7 for `debug`, 6 for `info`, 4 for `warn`, 3 for `error`, 2 for `critical` |
| `SYSLOG_IDENTIFIER`, `SYSLOG_FACILITY` | `mailserver` and 2, mail |
| `MAILSERVER_EVENT` | the class of the event. An event of Twisted has `MAILSERVER_NAMESPACE` instead |
| `MAILSERVER_ID`, … | the fields of the event. A list, such as the recipients, is there several times |
| `MAILSERVER_TRACEBACK` | the traceback of a bug |

```sh
journalctl SYSLOG_IDENTIFIER=mailserver MAILSERVER_EVENT=MessageAccepted
journalctl MAILSERVER_RECIPIENTS=alice@example.org --output=json
journalctl SYSLOG_IDENTIFIER=mailserver --priority=warning
```

Without `log.destination`, the socket is `/run/systemd/journal/socket`.

## Syslog

With `format = "syslog"` each event goes to a syslog server, with the facility mail and the level as severity:

```toml
[log]
format = "syslog"
destination = "tcp:[2001:db8::1]:601"
```

| `destination` | form |
|---|---|
| `""` or a path, such as `/dev/log` | the form of syslog(3): `mailserver[PID]: EVENT: TEXT` |
| `udp:HOST:PORT` | RFC 5424 by UDP (RFC 5426); the MSGID is the class of the event |
| `tcp:HOST:PORT` | RFC 5424 by TCP with octet counting (RFC 6587), without TLS |

A message has at most 8192 octets; longer ones are cut. Control characters are escaped, so that an event is
one line.

In both formats, the server does not start if it cannot connect to the destination. Later it goes on without
it: up to 4 MiB of messages wait in memory until the destination can be reached again. Further messages are
dropped, and one message with their number replaces them. A change of the section `[log]` needs a restart.
With the options `--syslog` or `--logger` of twistd, and under `python -m twisted`, Twisted writes the log
instead.
"""


def modules() -> Iterator[ModuleType]:
    """The modules that define events, in the order of their names."""
    for module in pkgutil.iter_modules(events.__path__):
        if module.name != "base":
            yield importlib.import_module(f"{events.__name__}.{module.name}")


def classes(module: ModuleType) -> Iterator[type[Event]]:
    """The events of a module, in the order of its text."""
    for value in vars(module).values():
        ours = isinstance(value, type) and value.__module__ == module.__name__
        if ours and issubclass(value, Event) and value.text:
            yield value


def field_names(event: type[Event]) -> list[str]:
    return [field.name for field in attrs.fields(event)]


def generated() -> str:
    """The whole document."""
    parts = [HEAD]
    for module in modules():
        title, _, _ = (module.__doc__ or "").partition("\n")
        title = title.removeprefix("Events of ").removesuffix(".")
        parts.append(f"\n## {title[:1].upper()}{title[1:]}\n")
        for event in classes(module):
            about = " ".join((event.__doc__ or "").split())
            fields = ", ".join(f"`{name}`" for name in field_names(event)) or "none"
            parts.append(f"\n### {event.__name__}\n\n{about}\n\n    {event.text}\n\n")
            parts.append(f"Level: `{event.level}`. Fields: {fields}.\n")
    parts.append("\n## Fields\n\n| Field | Meaning |\n| --- | --- |\n")
    parts += [f"| `{name}` | {meaning} |\n" for name, meaning in FIELDS.items()]
    return "".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(generated())
