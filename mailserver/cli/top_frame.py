"""One frame of ``mailserver top``: lines of text from two states of the server, cut to a terminal's size."""

import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mailserver.mail.words import counted

State = Mapping[str, Any]  # the object of the server, see ``mailserver.metrics.live``
NAMES = 5  # clients and accounts that are shown


def rates(before: State, now: State) -> dict[str, float]:
    """The increase of each count a second, between two states of one run of the server."""
    seconds = max(now["time"] - before["time"], 0.001)
    earlier: Mapping[str, int] = before["counts"] if now["pid"] == before["pid"] else {}
    found = {
        name: max(0.0, (count - earlier.get(name, 0)) / seconds) for name, count in now["counts"].items()
    }
    delivered = now["delivered"] - before["delivered"] if now["pid"] == before["pid"] else 0
    return {**found, "delivered": max(0.0, delivered / seconds)}


def frame(before: State, now: State, width: int, height: int) -> list[str]:
    """The lines, at most ``height`` of at most ``width`` columns each."""
    lines = [*_head(before, now)]
    room = height - len(lines)
    events = [_event(one) for one in now["events"]]
    if room > 2 and events:
        lines += ["", *events[-(room - 1) :]]
    return [cut(line, width) for line in lines[:height]]


def cut(line: str, width: int) -> str:
    """The beginning of a line that fits into ``width`` columns."""
    columns = 0
    for index, character in enumerate(line):
        columns += _columns(character)
        if columns > width:
            return line[:index]
    return line


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _head(before: State, now: State) -> Iterator[str]:
    per = rates(before, now)

    def rate(name: str) -> str:
        found = (value for each, value in per.items() if each == name or each.startswith(f"{name}."))
        return f"{sum(found):.1f}/s"

    yield (
        f"{now['hostname']}: mailserver {now['version']}, pid {now['pid']}, up {_span(now['uptime'])}, "
        f"{time.strftime('%H:%M:%S', time.localtime(now['time']))}"
    )
    yield f"state     {now['problem'] or 'ready'}"
    if len(now["workers"]) > 1:
        yield f"workers   {_workers(before, now)}"
    yield f"sessions  {_sessions(now['sessions'])}"
    yield (
        f"messages  {rate('messages_received')} received, {rate('messages_rejected')} rejected, "
        f"{rate('messages_deferred')} deferred; {rate('commands_rejected')} commands rejected"
    )
    yield (
        f"delivery  {rate('delivered')} into mailboxes; from the queue "
        f"{rate('delivery_attempts.relayed')} relayed, {rate('delivery_attempts.deferred')} deferred, "
        f"{rate('delivery_attempts.failed')} failed"
    )
    yield f"logins    {rate('logins.succeeded')} succeeded, {rate('logins.rejected')} rejected"
    yield f"queue     {_queue(now['queue'])}"
    yield f"storage   {_storage(before, now)}, {now['unsynced']} copies not synced"
    yield f"disk      {_disk(now['disk'])}"
    yield from _names(now)


def _workers(before: State, now: State) -> str:
    """The workers that answer, and the load of each since the state ``before``."""
    seconds = max(now["time"] - before["time"], 0.001)
    earlier = {one["number"]: one for one in before["workers"]}
    parts = []
    for one in now["workers"]:
        if not one["answers"]:
            parts.append(f"{one['number']} does not answer")
            continue
        last = earlier.get(one["number"], {})
        same = last.get("pid") == one["pid"]
        cpu = one["cpu"] - last["cpu"] if same else 0.0
        received = max(0, one["received"] - last["received"]) if same else 0
        load = f"{100 * cpu / seconds:.0f}% CPU, {received / seconds:.1f}/s received"
        parts.append(f"{one['number']}: {load}, {counted(one['sessions'], 'session')}")
    return "; ".join(parts)


def _sessions(sessions: Sequence[State]) -> str:
    parts = []
    for protocol in dict.fromkeys(one["protocol"] for one in sessions):
        opened = [one for one in sessions if one["protocol"] == protocol and one["open"]]
        kinds = ", ".join(
            f"{one['open']} {'without TLS' if one['tls'] == 'none' else one['tls']}" for one in opened
        )
        total = sum(one["open"] for one in opened)
        parts.append(f"{protocol} {total} ({kinds})" if kinds else f"{protocol} {total}")
    return ", ".join(parts) or "none"


def _disk(disk: Mapping[str, float] | None) -> str:
    return "unreadable" if disk is None else f"{_size(disk['free'])} of {_size(disk['size'])} free"


def _queue(queue: Mapping[str, float] | None) -> str:
    if queue is None:
        return "unreadable"
    counts = f"{queue['due']} due, {queue['waiting']} waiting, {queue['held']} held"
    return f"{counts}, the oldest for {_span(queue['oldest'])}" if queue["oldest"] else counts


def _storage(before: State, now: State) -> str:
    parts = []
    for name, times in now["storage"].items():
        earlier = before["storage"][name] if now["pid"] == before["pid"] else {"count": 0, "seconds": 0.0}
        count = times["count"] - earlier["count"]
        mean = (times["seconds"] - earlier["seconds"]) / count if count else 0.0
        longest = f", longest {times['longest'] * 1000:.1f} ms" if count else ""
        parts.append(f"{name} {mean * 1000:.1f} ms{longest}")
    return "; ".join(parts)


def _names(now: State) -> Iterator[str]:
    clients, accounts = now["clients"][:NAMES], now["accounts"][:NAMES]
    if not clients and not accounts:
        return
    title = f"clients (events in {_span(now['watched'])})"
    yield ""
    yield f"{title:40}accounts"
    for index in range(max(len(clients), len(accounts))):
        left, right = (
            f"{part[index]['events']:6}  {part[index]['name']}" if index < len(part) else ""
            for part in (clients, accounts)
        )
        yield f"{cut(left, 39):40}{right}".rstrip()


def _event(event: State) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    mark = "" if event["level"] in ("info", "debug") else f" ({event['level']})"
    return f"{clock} {event['event']}{mark} {event['text']}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _size(octets: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if octets < 1024:
            return f"{octets:.1f} {unit}"
        octets /= 1024
    return f"{octets:.1f} TiB"
