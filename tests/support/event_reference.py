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
