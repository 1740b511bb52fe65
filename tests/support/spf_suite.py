"""Reads the public test suite of RFC 7208.

``SPF_SUITE`` names the file ``rfc7208-tests.yml``, which source distributions of SPF libraries have, pyspf's
for example; it is read where it is and never copied. ``.ci/run`` fetches it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import yaml

from mailserver.mail.address import Address
from mailserver.policy.spf.values import SPFRequest
from tests.support.spf import Zone


@attrs.frozen
class SuiteCase:
    """A test of the suite. ``results`` are those that it allows, ``explanation`` None if it does not say."""

    name: str
    request: SPFRequest
    zone: Zone
    results: list[str]
    explanation: str | None


def suite_file() -> Path | None:
    name = os.environ.get("SPF_SUITE")
    return Path(name) if name else None


def suite_cases(path: Path) -> Iterator[SuiteCase]:
    for scenario in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        zone = {name.lower(): _records(entries) for name, entries in scenario["zonedata"].items()}
        for name, test in scenario["tests"].items():
            local, _, domain = test["mailfrom"].rpartition("@")
            request = SPFRequest(
                ip=test["host"],
                helo=test["helo"],
                reverse_path=Address(local, domain) if test["mailfrom"] else None,
            )
            results = test["result"] if isinstance(test["result"], list) else [test["result"]]
            explanation = test.get("explanation")
            yield SuiteCase(name, request, zone, results, "" if explanation == "DEFAULT" else explanation)


def _records(entries: list[Any]) -> dict[str, Any]:
    """The records of a name. Those of the type SPF are TXT records too, unless the name has some."""
    records: dict[str, Any] = {}
    for entry in entries:
        if entry == "TIMEOUT":
            records["*"] = None
            continue
        ((kind, value),) = entry.items()
        kept = records.setdefault(kind, [])
        if value == "NONE":
            continue
        if kind in ("TXT", "SPF"):
            strings = value if isinstance(value, list) else [value]
            kept.append("".join(strings).encode())
        else:
            kept.append(value[1] if kind == "MX" else value)
    if "SPF" in records:
        records.setdefault("TXT", records["SPF"])
    if records.get("TXT") == [] and "*" in records:  # "NONE" says that there is nothing but the failure
        del records["TXT"]
    return records
