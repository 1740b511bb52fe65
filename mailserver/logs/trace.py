"""Reads the journal of messages: the events of one message, or of the messages of an address."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mailserver.durable.rotated import paths
from mailserver.events.base import Event
from mailserver.mail.words import AddressNames

Record = Mapping[str, Any]
LONGEST = 4096  # octets of most lines
ADDRESSES = ("recipients", "mailboxes")
_ID = re.compile(rb'"id":"([0-9a-z]+)"')


@attrs.frozen
class TracedMessage:
    """The events of one message, the first one first. A record has ``time``, ``event`` and the fields."""

    id: str
    records: tuple[Record, ...]


@attrs.frozen
class Trace:
    """The messages found, oldest first. ``older`` is the number of messages before them."""

    messages: tuple[TracedMessage, ...]
    older: int = 0


def trace(folder: Path, what: str, last: int) -> Trace:
    """The message in the journal with the id ``what``, or the last messages from or to the address ``what``.

    The bounces of these messages follow them. Blocks; raises ``OSError``.
    """
    found = dict.fromkeys(_messages_of(folder, what)) if "@" in what else {what: None}
    wanted = list(found)[-last:]
    records: dict[str, list[Record]] = {id_: [] for id_ in wanted}
    for line in _lines(folder):
        id_ = _ID.search(line)
        if id_ is not None and id_[1].decode() in records and (record := _record(line)) is not None:
            records[record["id"]].append(record)
            if record.get("bounce"):
                records.setdefault(record["bounce"], [])
    # Several workers may have written them.
    messages = [
        TracedMessage(id_, tuple(sorted(events, key=_time))) for id_, events in records.items() if events
    ]
    return Trace(tuple(messages), len(found) - len(wanted))


def recent(folder: Path, last: int) -> Sequence[Record]:
    """The last events in the journal, the newest first. Blocks; raises ``OSError``."""
    found: list[Record] = []
    for path in sorted(paths(folder), reverse=True):
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - last * LONGEST))
                lines = file.readlines()
        except FileNotFoundError:
            continue  # it has been removed meanwhile
        found += [record for line in reversed(lines) if (record := _record(line)) is not None]
        if len(found) >= last:
            break
    return found[:last]


def _time(record: Record) -> float:
    when: float = record["time"]
    return when


def _messages_of(folder: Path, address: str) -> Iterator[str]:
    """The ids of the messages from or to an address, in any case."""
    name = address.casefold()
    # A part of the address that casefold() leaves alone.
    needle = max(name.encode("ascii", "replace").split(b"?"), key=len)
    for line in _lines(folder):
        if needle in line.lower() and (record := _record(line)) is not None:
            named = [str(record.get("sender"))[1:-1]]
            for field in ADDRESSES:
                named += map(str, record.get(field, ()))
            if name in map(str.casefold, named):
                yield record["id"]


def _lines(folder: Path) -> Iterator[bytes]:
    for path in sorted(paths(folder)):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue  # it has been removed meanwhile
        with file:
            yield from file


def _record(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None  # half a line, or damage
    sound = isinstance(record, dict) and isinstance(record.get("id"), str)
    return record if sound and isinstance(record.get("time"), float) else None


# ------------------------------------------------------------ sentences


def sentence(record: Record) -> str:
    """The text of an event, as in the log but without the id."""
    event = _classes().get(str(record.get("event")))
    fields = {
        name: AddressNames(value) if name in ADDRESSES and isinstance(value, list) else value
        for name, value in record.items()
    }
    try:
        assert event is not None
        return event.text.format_map(fields).removeprefix(f"{record['id']}: ")
    except Exception:  # noqa: BLE001 - another version has written the record
        rest = {name: value for name, value in record.items() if name not in ("time", "id", "event")}
        return f"{record.get('event')}: {json.dumps(rest, ensure_ascii=False)}"


def _classes(base: type[Event] = Event) -> dict[str, type[Event]]:
    found = {base.__name__: base}
    for one in base.__subclasses__():
        found |= _classes(one)
    return found
