"""The long form: ``python -m tests.fuzz --sessions 200000`` or ``--minutes 30``.

Exit status: 0 if every property held, 1 at the first that did not, 2 for wrong usage. A failure is told
with its seed and number, and with a minimised stream in a form that ``--replay`` takes.
"""

import argparse
import secrets
import shlex
import sys
import time
from collections import Counter

from tests.fuzz.campaign import Failure, Report, Task, minimised, run_all, try_one
from tests.fuzz.sent import read_written, written
from tests.fuzz.targets import TARGETS

SESSIONS = 20_000  # if neither a number nor a time is given


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def replay(text: str) -> Failure:
    """``protocol:server:stream``, the stream as :func:`written` writes it."""
    protocol, server, stream = text.split(":", 2)
    if protocol not in TARGETS or server not in TARGETS[protocol].names:
        raise ValueError
    return Failure(protocol, server, read_written(stream), "", "")


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sessions", type=count, help=f"so many, over all protocols (default {SESSIONS})")
    parser.add_argument("--minutes", type=positive, help="stop after this time, or at the number of sessions")
    parser.add_argument("--protocol", choices=[*TARGETS, "all"], default="all")
    parser.add_argument("--seed", type=int, help="the same seed makes the same sessions (default: any)")
    parser.add_argument("--jobs", type=count, default=1, help="processes to share the work (default 1)")
    parser.add_argument("--replay", type=replay, metavar="PROTOCOL:SERVER:STREAM", help="one stream alone")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    if options.replay:
        one: Failure = options.replay
        broken = try_one(one.protocol, one.server, one.stream, Counter())
        print(f"{broken.property}\n{broken.detail}" if broken else "every property holds")
        return 1 if broken else 0
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    protocols = tuple(TARGETS) if options.protocol == "all" else (options.protocol,)
    begin = time.monotonic()
    end = begin + options.minutes * 60 if options.minutes else float("inf")
    most = options.sessions or (sys.maxsize if options.minutes else SESSIONS)
    print(f"seed {seed}, {', '.join(protocols)}, {options.jobs} jobs", flush=True)
    report = run_all(Task(seed, protocols, most, end), options.jobs)
    summarise(report, time.monotonic() - begin)
    if report.failure is None:
        return 0
    tell(minimised(report.failure), seed)
    return 1


def summarise(report: Report, seconds: float) -> None:
    print(
        f"{report.sessions} sessions with {report.octets / 1e6:.1f} MB in {seconds:.1f} s: "
        f"{report.sessions / seconds:.0f} a second; "
        f"memory grew by {report.growth / 1e6:.1f} MB at most in a process"
    )
    for protocol, seen in report.seen.items():
        if not seen:
            continue
        replies = ", ".join(f"{reply}: {number}" for reply, number in sorted(seen.items()))
        print(f"{protocol}: {seen.total()} replies ({replies})")


def tell(failure: Failure, seed: int) -> None:
    print(f"FAILED: {failure.broken}")
    print(failure.detail)
    print(f"seed {seed}, session {failure.number}, {failure.protocol}, server {failure.server}")
    print(f"stream: {failure.stream!r}")
    spec = f"{failure.protocol}:{failure.server}:{written(failure.stream)}"
    print(f"again: python -m tests.fuzz --replay {shlex.quote(spec)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
